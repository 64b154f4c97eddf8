"""A bank's CSV is read as that bank writes days and amounts, or refused by its line."""

import pytest

from ledger.commands.data.bank_rows import entered
from ledger.commands.data.rows import InputRow
from ledger.domain.errors import InvalidInputError

COLUMNS = {"booked_on": "Buchungstag", "amount": "Betrag"}


def row(day: str, amount: str) -> InputRow:
    return InputRow(2, {"Buchungstag": day, "Betrag": amount, "Name": "1.2.2026"}, texts=True)


@pytest.mark.parametrize(
    ("day", "amount", "wanted"),
    [
        ("28.11.2026", "0,04", ("2026-11-28", "0.04")),
        ("1.2.2026", "-1.234.567,89", ("2026-02-01", "-1234567.89")),
        ("2026-11-28", "+12", ("2026-11-28", "+12")),
    ],
)
def test_days_with_dots_and_amounts_with_a_comma_are_read(
    day: str, amount: str, wanted: tuple[str, str]
) -> None:
    read = entered(row(day, amount), COLUMNS, decimal_comma=True).cells
    assert (read["Buchungstag"], read["Betrag"], read["Name"]) == (*wanted, "1.2.2026")


@pytest.mark.parametrize("amount", ["1,234.56", "1.2", "12.34,5", "1,2,3", "", "EUR 5"])
def test_an_amount_that_may_mean_another_number_is_refused(amount: str) -> None:
    with pytest.raises(InvalidInputError, match="Line 2"):
        entered(row("2026-11-28", amount), COLUMNS, decimal_comma=True)


def test_an_amount_stays_as_it_is_where_no_comma_is_meant() -> None:
    read = entered(row("2026-11-28", "1.234"), COLUMNS, decimal_comma=False).cells
    assert read["Betrag"] == "1.234"
