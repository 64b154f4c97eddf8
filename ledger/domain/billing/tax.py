"""Turns invoice lines and how a customer is taxed into tax lines: one a rate, each rounded once.

Invariant: tax is reckoned per rate on the sum of rounded lines (EN 16931 BR-S-08, BR-S-09). Which
treatment is right is said by people; here it is only applied, and refused where it cannot be.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from ledger.domain.billing.agreement import Party
from ledger.domain.billing.tax_number import check_tax_number, country_of
from ledger.domain.errors import InvalidInputError, MissingInputError
from ledger.domain.money import (
    EXACT,
    ROUNDING,
    ZERO,
    minor_digits,
    plain,
    round_minor,
    scale_of,
    total,
)


class Treatment(StrEnum):
    """How what a customer buys is taxed."""

    STANDARD = "standard"
    REDUCED = "reduced"
    ZERO = "zero"
    EXEMPT = "exempt"
    REVERSE_CHARGE = "reverse_charge"
    EXPORT = "export"
    OUTSIDE = "outside"


# Duty or tax category codes of UNCL 5305, as electronic invoices write them.
CATEGORIES = MappingProxyType(
    {
        Treatment.STANDARD: "S",
        Treatment.REDUCED: "S",
        Treatment.ZERO: "Z",
        Treatment.EXEMPT: "E",
        Treatment.REVERSE_CHARGE: "AE",
        Treatment.EXPORT: "G",
        Treatment.OUTSIDE: "O",
    }
)
RATED = frozenset({Treatment.STANDARD, Treatment.REDUCED})
# What has to be on the document by law where no tax is charged, unless another reason is given.
REASONS = MappingProxyType(
    {
        Treatment.REVERSE_CHARGE: "Reverse charge",
        Treatment.EXPORT: "Export outside the EU",
        Treatment.OUTSIDE: "Outside the scope of tax",
    }
)
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class TaxTerms:
    """How a customer is taxed: by which country, and whether prices hold the tax already."""

    country: str
    treatment: Treatment
    included: bool
    reason: str


@dataclass(frozen=True, slots=True)
class DatedTaxTerms:
    """Terms in [valid_from, valid_to)."""

    terms: TaxTerms
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class TaxRate:
    """Per cent that a country takes of its standard or reduced kind, in [valid_from, valid_to)."""

    country: str
    kind: str
    percent: Decimal
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class Registration:
    """Under which number an entity pays tax to a country, in [valid_from, valid_to)."""

    country: str
    tax_number: str
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class TaxRules:
    """Everything that people said about the tax of one customer of one entity, by time."""

    registrations: Sequence[Registration]
    terms: Sequence[DatedTaxTerms]
    rates: Sequence[TaxRate]


@dataclass(frozen=True, slots=True, order=True)
class TaxKey:
    """What shares a tax line; `percent` is 0 where no tax is charged."""

    country: str
    treatment: Treatment
    percent: Decimal
    included: bool
    reason: str

    @property
    def category(self) -> str:
        """The code of UNCL 5305."""
        return CATEGORIES[self.treatment]


@dataclass(frozen=True, slots=True)
class TaxLine:
    """Tax on the lines of one key: `base` without tax, and `amount`, both of the minor unit."""

    key: TaxKey
    base: Decimal
    amount: Decimal

    @property
    def category(self) -> str:
        """The code of UNCL 5305."""
        return self.key.category


@dataclass(frozen=True, slots=True)
class Taxable:
    """A rounded amount, and when what it is for had been supplied."""

    amount: Decimal
    supplied_at: datetime


def tax_lines(
    lines: Iterable[Taxable], rules: TaxRules, *, customer_id: str, currency: str, mode: str
) -> list[TaxLine]:
    """Tax by key, in order of key; none where the seller is registered nowhere.

    MissingInputError where the seller is registered and nobody said how the customer is taxed, or
    where a country's rate is not recorded.
    """
    supplied: dict[datetime, list[Decimal]] = defaultdict(list)
    for line in lines:
        supplied[line.supplied_at].append(line.amount)
    sums: dict[TaxKey, list[Decimal]] = defaultdict(list)
    for moment, amounts in supplied.items():
        key = find_key(rules, moment, customer_id)
        if key is not None:
            sums[key] += amounts
    return [tax_on(key, total(sums[key]), currency, mode) for key in sorted(sums)]


def find_key(rules: TaxRules, moment: datetime, customer_id: str) -> TaxKey | None:
    """How what is supplied at a moment is taxed; None where the seller is registered nowhere."""
    terms = [dated.terms for dated in rules.terms if _holds(dated, moment)]
    registered = {each.country for each in rules.registrations if _holds(each, moment)}
    if not terms:
        if registered:
            raise MissingInputError(
                f"Nobody said how {customer_id} is taxed on {moment.date()}, and the seller is"
                f" registered in {', '.join(sorted(registered))}.",
                "Enter a tax treatment of the customer.",
            )
        return None
    return _key(terms[0], rules, registered, moment, customer_id)


def registered_as(rules: TaxRules, lines: Sequence[TaxLine], moment: datetime) -> str | None:
    """The seller's number in the country that taxes the lines; None where it has none there."""
    countries = {line.key.country for line in lines}
    for each in rules.registrations:
        if each.country in countries and _holds(each, moment):
            return each.tax_number
    return None


def check_reverse_charge(lines: Iterable[TaxLine], buyer: Party) -> None:
    """InvalidInputError where a buyer is to pay the tax and has no number of another EU country."""
    for line in lines:
        if line.key.treatment is not Treatment.REVERSE_CHARGE:
            continue
        country = country_of(buyer.tax_number)
        if country is None or country == line.key.country:
            raise InvalidInputError(
                f"{buyer.name} is invoiced under reverse charge by {line.key.country}, and its tax"
                f" number {buyer.tax_number!r} is not one of another EU country.",
                "Change the customer's tax number, or its tax treatment.",
                "tax_number",
            )
        check_tax_number(buyer.tax_number, country)


def _key(
    terms: TaxTerms, rules: TaxRules, registered: set[str], moment: datetime, customer_id: str
) -> TaxKey:
    if terms.treatment is not Treatment.OUTSIDE and terms.country not in registered:
        raise MissingInputError(
            f"{customer_id} is taxed by {terms.country}, where the seller is not registered on"
            f" {moment.date()}.",
            "Enter a tax registration of the entity there, or another treatment.",
        )
    percent = ZERO
    if terms.treatment in RATED:
        percent = _percent(terms, rules.rates, moment)
    reason = terms.reason or REASONS.get(terms.treatment, "")
    return TaxKey(terms.country, terms.treatment, percent, terms.included, reason)


def _percent(terms: TaxTerms, rates: Sequence[TaxRate], moment: datetime) -> Decimal:
    for rate in rates:
        if (rate.country, rate.kind) == (terms.country, terms.treatment) and _holds(rate, moment):
            return rate.percent
    raise MissingInputError(
        f"No {terms.treatment} rate of {terms.country} is recorded for {moment.date()}.",
        "Enter its tax rate.",
    )


def _holds(said: DatedTaxTerms | TaxRate | Registration, moment: datetime) -> bool:
    return said.valid_from <= moment and (said.valid_to is None or moment < said.valid_to)


def tax_on(key: TaxKey, summed: Decimal, currency: str, mode: str) -> TaxLine:
    """The tax of lines of one key that add up to `summed`, in minor units."""
    if not key.included:
        exact = EXACT.multiply(summed, key.percent).scaleb(-2, EXACT)
        return TaxLine(key, summed, round_minor(exact, currency, mode))
    tax = _part_of(summed, key.percent, minor_digits(currency), mode)
    return TaxLine(key, EXACT.subtract(summed, tax), tax)


def _part_of(gross: Decimal, percent: Decimal, digits: int, mode: str) -> Decimal:
    """gross × percent ÷ (100 + percent) to the minor unit, by whole numbers: it may never end."""
    scale = scale_of(percent)
    share, whole = int(percent.scaleb(scale)), int((_HUNDRED + percent).scaleb(scale))
    units = int(abs(gross).scaleb(digits))
    quotient, rest = divmod(units * share, whole)
    up = 2 * rest > whole or (2 * rest == whole and (mode == "half_up" or quotient % 2 == 1))
    part = Decimal(quotient + up).scaleb(-digits)
    return part.copy_negate() if gross < 0 else part


def describe_tax(line: TaxLine) -> str:
    """A tax line as a document says it."""
    if line.key.treatment in RATED:
        return f"VAT {line.key.country} {plain(line.key.percent.normalize(ROUNDING))} %"
    return line.key.reason or "No tax"
