"""Tax by rate: on the sum of rounded lines, rounded once, and never where nobody said so."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ledger.domain.billing.agreement import Party
from ledger.domain.billing.tax import (
    DatedTaxTerms,
    Registration,
    Taxable,
    TaxLine,
    TaxRate,
    TaxRules,
    TaxTerms,
    Treatment,
    check_reverse_charge,
    tax_lines,
)
from ledger.domain.billing.tax_number import check_tax_number, country_of
from ledger.domain.errors import InvalidInputError, MissingInputError

BEGIN, JULY, END = (datetime(2020, month, 1, tzinfo=UTC) for month in (1, 7, 12))
PERCENT = st.decimals("0.01", "100", places=2)
CENTS = st.integers(-(10**12), 10**12).map(lambda cents: Decimal(cents).scaleb(-2))


def rules(
    *terms: TaxTerms, rates: tuple[TaxRate, ...] = (), countries: tuple[str, ...] = ("DE",)
) -> TaxRules:
    return TaxRules(
        [Registration(country, f"{country}1", BEGIN, None) for country in countries],
        [DatedTaxTerms(one, BEGIN, None) for one in terms],
        rates,
    )


def rate(percent: str | Decimal, *, kind: str = "standard", since: datetime = BEGIN) -> TaxRate:
    return TaxRate("DE", kind, Decimal(percent), since, None)


def terms(treatment: str = "standard", *, included: bool = False, reason: str = "") -> TaxTerms:
    return TaxTerms("DE", Treatment(treatment), included, reason)


def taxed(
    amounts: list[Decimal], given: TaxRules, *, currency: str = "EUR", mode: str = "half_up"
) -> list[TaxLine]:
    lines = [Taxable(amount, END) for amount in amounts]
    return tax_lines(lines, given, customer_id="acme", currency=currency, mode=mode)


def test_the_worked_invoice_has_a_quarter_of_its_rounded_lines() -> None:
    (line,) = taxed([Decimal("4.96"), Decimal("1.66")], rules(terms(), rates=(rate("25"),)))
    assert (line.base, line.amount, line.category) == (Decimal("6.62"), Decimal("1.66"), "S")


@given(st.lists(CENTS, min_size=1, max_size=5), PERCENT, st.sampled_from(["half_up", "half_even"]))
def test_prices_with_and_without_tax_agree_to_the_cent(
    amounts: list[Decimal], percent: Decimal, mode: str
) -> None:
    (without,) = taxed(amounts, rules(terms(), rates=(rate(percent),)), mode=mode)
    gross = without.base + without.amount
    (within,) = taxed([gross], rules(terms(included=True), rates=(rate(percent),)), mode=mode)
    assert (within.base, within.amount) == (without.base, without.amount)


@given(CENTS, PERCENT, st.booleans(), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_tax_is_its_share_to_half_a_minor_unit_and_credits_mirror(
    amount: Decimal, percent: Decimal, included: bool, currency: str
) -> None:
    digits = {"EUR": 2, "JPY": 0, "KWD": 3}[currency]
    whole = Decimal(int(amount.scaleb(2))).scaleb(-digits)
    given = rules(terms(included=included), rates=(rate(percent),))
    (line,) = taxed([whole], given, currency=currency)
    share = Fraction(percent) / (100 + Fraction(percent) if included else 100)
    assert abs(Fraction(line.amount) - Fraction(whole) * share) <= Fraction(1, 2 * 10**digits)
    assert line.base + (line.amount if included else 0) == whole
    (credit,) = taxed([-whole], given, currency=currency)
    assert (credit.base, credit.amount) == (-line.base, -line.amount)


def test_each_line_has_the_rate_of_the_time_its_service_was_complete() -> None:
    given = TaxRules(
        [Registration("DE", "DE1", BEGIN, None)],
        [DatedTaxTerms(terms(), BEGIN, None)],
        [TaxRate("DE", "standard", Decimal(19), BEGIN, JULY), rate("16", since=JULY)],
    )
    lines = [Taxable(Decimal(100), moment) for moment in (BEGIN, JULY, END)]
    found = tax_lines(lines, given, customer_id="a", currency="EUR", mode="half_up")
    assert [f"{one.key.percent} {one.amount:f}" for one in found] == ["16 32.00", "19 19.00"]


@pytest.mark.parametrize(
    ("treatment", "reason", "category", "said"),
    [
        ("reverse_charge", "", "AE", "Reverse charge"),
        ("export", "", "G", "Export outside the EU"),
        ("outside", "", "O", "Outside the scope of tax"),
        ("zero", "", "Z", ""),
        ("exempt", "Art. 132", "E", "Art. 132"),
    ],
)
def test_where_no_tax_is_charged_the_line_says_why(
    treatment: str, reason: str, category: str, said: str
) -> None:
    (line,) = taxed([Decimal(10)], rules(terms(treatment, reason=reason)))
    assert (line.base, line.amount) == (Decimal(10), Decimal(0))
    assert (line.category, line.key.reason) == (category, said)


def test_a_seller_registered_nowhere_charges_none() -> None:
    assert taxed([Decimal(10)], rules(countries=())) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (rules(), "Nobody said how acme is taxed on 2020-12-01"),
        (rules(terms()), "No standard rate of DE is recorded for 2020-12-01"),
        (rules(terms(), countries=("DK",), rates=(rate("19"),)), "seller is not registered"),
    ],
)
def test_what_is_missing_is_named(given: TaxRules, says: str) -> None:
    with pytest.raises(MissingInputError, match=says):
        taxed([Decimal(10)], given)


@pytest.mark.parametrize(
    "number", ["", "DE136695976", "DE 136 695 976", "GB980780684", "DK13585629"]
)
def test_reverse_charge_needs_a_number_of_another_eu_country(number: str) -> None:
    lines = taxed([Decimal(10)], rules(terms("reverse_charge")))
    with pytest.raises(InvalidInputError):
        check_reverse_charge(lines, Party("Acme", "", number, ""))
    check_reverse_charge(lines, Party("Acme", "", "DK 13585628", ""))
    check_reverse_charge(taxed([Decimal(10)], rules(terms("zero"))), Party("Acme", "", number, ""))


@pytest.mark.parametrize(
    ("number", "country", "written"),
    [
        ("13 58 56 28", "DK", "DK13585628"),
        ("EL 094259216", "GR", "EL094259216"),
        ("XI980780684", "XI", "XI980780684"),
        ("47-1234567", "US", "47-1234567"),
    ],
)
def test_a_number_is_written_as_documents_have_it(number: str, country: str, written: str) -> None:
    assert check_tax_number(number, country) == written


@pytest.mark.parametrize(("number", "country"), [("DE136695976", "DK"), ("DK13585629", "DK")])
def test_a_number_of_another_country_or_with_a_slip_is_refused(number: str, country: str) -> None:
    with pytest.raises(InvalidInputError, match=f"no tax number of {country}"):
        check_tax_number(number, country)
    assert country_of(number) == number[:2]
