"""What credits take back and payments pay: never more than there is, and all of it in the end."""

from datetime import date, timedelta
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ledger.domain.billing.credit_note import Credit, CreditableLine, credit_lines
from ledger.domain.billing.invoice import totals
from ledger.domain.billing.receivable import (
    AGES,
    OpenItem,
    age_of,
    ageing,
    oldest_first,
    settle_items,
)
from ledger.domain.billing.tax import TaxKey, Treatment
from ledger.domain.errors import ConflictError, InvalidInputError, LedgerError
from ledger.domain.money import ZERO

DAY = date(2024, 3, 1)
PIECES = [Decimal("0.07"), Decimal(10**9)]
CENTS = st.integers(1, 10**9).map(lambda cents: Decimal(cents).scaleb(-2))


def key(percent: str = "25", *, included: bool = False) -> TaxKey:
    return TaxKey("DK", Treatment.STANDARD, Decimal(percent), included, "")


def line(
    amount: str | Decimal, *, line_no: int = 1, credited: str = "0", tax: TaxKey | None = None
) -> CreditableLine:
    return CreditableLine(line_no, Decimal(amount), tax, Decimal(credited))


def item(invoice_id: int, payable: Decimal, *, due: int = 0, paid: Decimal = ZERO) -> OpenItem:
    due_on = DAY + timedelta(days=due)
    return OpenItem(invoice_id, f"N{invoice_id}", "acme", "EUR", DAY, due_on, payable, ZERO, paid)


def credited(lines: list[CreditableLine], asked: dict[int, Decimal] | None) -> Credit:
    return credit_lines(lines, asked, currency="EUR", mode="half_up")


@given(st.data(), st.booleans(), st.decimals("0.01", "100", places=2))
def test_credits_in_parts_take_back_the_invoice_to_the_cent(
    data: st.DataObject, included: bool, percent: Decimal
) -> None:
    tax = TaxKey("DK", Treatment.STANDARD, percent, included, "")
    amounts = data.draw(st.lists(CENTS, min_size=1, max_size=4))
    given = dict(enumerate(amounts, 1))
    whole = credited([CreditableLine(n, a, tax, ZERO) for n, a in given.items()], None)
    gone = dict.fromkeys(given, ZERO)
    parts: list[Credit] = []
    while any(given[n] != gone[n] for n in given):
        left = {n: given[n] - gone[n] for n in given if given[n] != gone[n]}
        asked = {n: min(left[n], data.draw(st.sampled_from(PIECES))) for n in left}
        lines = [CreditableLine(n, given[n], tax, gone[n]) for n in given]
        parts.append(credited(lines, asked))
        gone = {n: gone[n] + asked.get(n, ZERO) for n in gone}
        if len(parts) > 5:
            lines = [CreditableLine(n, given[n], tax, gone[n]) for n in given]
            if any(one.left for one in lines):
                parts.append(credited(lines, None))
            break
    for name in ("net", "tax", "payable"):
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name)


def test_without_lines_all_that_is_left_is_credited() -> None:
    lines = [line("90.30", credited="90.00", tax=key()), line("3.69", line_no=2, tax=key())]
    found = credited(lines, None)
    assert found.lines == {1: Decimal("0.30"), 2: Decimal("3.69")}
    assert (found.net, found.payable) == (Decimal("3.99"), Decimal("4.99"))


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({3: Decimal(1)}, InvalidInputError, "no line 3"),
        ({1: Decimal("0.001")}, InvalidInputError, "to the minor unit"),
        ({1: Decimal(0)}, InvalidInputError, "0 EUR cannot be credited of line 1"),
        ({1: Decimal(-1)}, InvalidInputError, "-1 EUR cannot be credited"),
        ({2: Decimal(1)}, InvalidInputError, "1 EUR cannot be credited of line 2"),
        ({1: Decimal("9.51")}, ConflictError, "more than is left of line 1: 9.50 of 10"),
        ({2: Decimal(-3)}, ConflictError, "more than is left of line 2"),
    ],
)
def test_what_cannot_be_credited_is_named(
    asked: dict[int, Decimal], error: type[LedgerError], says: str
) -> None:
    with pytest.raises(error, match=says):
        credited([line("10", credited="0.50"), line("-2", line_no=2)], asked)


def test_an_invoice_that_was_credited_whole_has_nothing_left() -> None:
    with pytest.raises(ConflictError, match="Nothing is left"):
        credited([line("10", credited="10")], None)


@given(CENTS, st.lists(st.tuples(CENTS, st.integers(-90, 90)), max_size=5))
def test_a_payment_pays_no_invoice_beyond_what_is_open(
    amount: Decimal, owed: list[tuple[Decimal, int]]
) -> None:
    items = [item(n, payable, due=due) for n, (payable, due) in enumerate(owed)]
    found = settle_items(amount, oldest_first(items))
    assert sum(found.parts.values(), found.rest) == amount
    assert all(0 < part <= owed[n][0] for n, part in found.parts.items())
    whole = [n for n, part in found.parts.items() if part == owed[n][0]]
    # Only the last that it reaches is paid in part, and nothing is left while anything is open.
    assert len(found.parts) - len(whole) <= 1
    assert found.rest == 0 or len(whole) == len(items)


@pytest.mark.parametrize(
    ("late", "age"),
    [(-5, 0), (0, 0), (1, 1), (30, 1), (31, 2), (60, 2), (61, 3), (90, 3), (91, 4), (999, 4)],
)
def test_what_is_due_today_is_not_overdue(late: int, age: int) -> None:
    assert age_of(item(1, Decimal(1)), DAY + timedelta(days=late)) == list(AGES)[age]


def test_ageing_adds_up_by_customer_and_names_what_is_on_account() -> None:
    items = [item(1, Decimal(10), paid=Decimal(4)), item(2, Decimal(5), due=-40)]
    (found, other) = ageing(items, {("beta", "EUR"): Decimal(3)}, DAY)
    assert (found.buckets["not_due"], found.buckets["days_31_to_60"]) == (Decimal(6), Decimal(5))
    assert (found.owed, found.on_account) == (Decimal(11), ZERO)
    assert (other.customer_id, other.owed, other.on_account) == ("beta", ZERO, Decimal(3))


@pytest.mark.parametrize(("currency", "nothing"), [("EUR", "0.00"), ("JPY", "0"), ("KWD", "0.000")])
def test_nothing_is_said_in_the_digits_of_its_currency(currency: str, nothing: str) -> None:
    (found,) = ageing([], {("beta", currency): Decimal(3)}, DAY)
    said = {*map(str, found.buckets.values()), str(found.owed), str(found.disputed)}
    assert said == {nothing}
    assert str(found.on_account) == nothing.replace("0", "3", 1)
    none = totals([], currency=currency)
    assert {str(none.net), str(none.tax), str(none.payable)} == {nothing}
