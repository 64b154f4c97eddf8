"""Turns an invoice and what is taken back of its lines into a credit note.

Invariant: credits of a line never exceed it, and credits of all lines take back the invoice's tax
to the cent, in however many notes: each takes the tax of all so far, less that of those before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.billing.tax import TaxKey, TaxLine, tax_on
from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.domain.money import EXACT, ZERO, minor_digits, plain, round_minor, scale_of, total


@dataclass(frozen=True, slots=True)
class CreditableLine:
    """A line of an invoice: what it asks for, how it is taxed, what was credited of it before."""

    line_no: int
    amount: Decimal
    tax: TaxKey | None
    credited: Decimal

    @property
    def left(self) -> Decimal:
        """What may still be credited; below zero for a line that takes back itself."""
        return EXACT.subtract(self.amount, self.credited)


@dataclass(frozen=True, slots=True)
class Credit:
    """What a credit note takes back: of each line, and of tax; amounts are those of the invoice's
    lines, and of the same sign."""

    lines: Mapping[int, Decimal]
    taxes: tuple[TaxLine, ...]

    @property
    def tax(self) -> Decimal:
        """Tax that is taken back."""
        credited = total(tuple(self.lines.values()))
        # No tax is 0.00 beside lines of two decimals.
        no_tax = EXACT.subtract(credited, credited)
        return total([no_tax, *(line.amount for line in self.taxes)])

    @property
    def included(self) -> Decimal:
        """The part of it that the lines hold."""
        return total([line.amount for line in self.taxes if line.key.included])

    @property
    def net(self) -> Decimal:
        """What is taken back without tax."""
        return EXACT.subtract(total(tuple(self.lines.values())), self.included)

    @property
    def payable(self) -> Decimal:
        """Net and tax."""
        return EXACT.add(self.net, self.tax)


def credit_lines(
    lines: Sequence[CreditableLine],
    asked: Mapping[int, Decimal] | None,
    *,
    currency: str,
    mode: str,
) -> Credit:
    """Credit what is asked of lines by number, or (None) everything that is left of the invoice.

    InvalidInputError names a line that is not there, or an amount of no minor unit or of the wrong
    sign; ConflictError one that is beyond what is left of its line.
    """
    chosen = _chosen(lines, asked)
    for line in lines:
        if line.line_no in chosen:
            _check(line, chosen[line.line_no], currency)
    chosen = {line_no: round_minor(amount, currency) for line_no, amount in chosen.items()}
    keys = sorted({line.tax for line in lines if line.line_no in chosen and line.tax is not None})
    taxes = [_tax_taken_back(key, lines, chosen, currency, mode) for key in keys]
    return Credit(chosen, tuple(taxes))


def _chosen(
    lines: Sequence[CreditableLine], asked: Mapping[int, Decimal] | None
) -> dict[int, Decimal]:
    if asked is None:
        chosen = {line.line_no: line.left for line in lines if line.left}
    else:
        chosen = dict(asked)
    unknown = chosen.keys() - {line.line_no for line in lines}
    if unknown:
        raise InvalidInputError(
            f"The invoice has no line {min(unknown)}.", f"It has 1 to {len(lines)}.", "lines"
        )
    if not chosen:
        raise ConflictError("Nothing is left of the invoice to be credited.")
    return chosen


def _check(line: CreditableLine, amount: Decimal, currency: str) -> None:
    fine = scale_of(amount) > minor_digits(currency)
    if fine or amount == 0 or (amount < 0) != (line.amount < 0):
        raise InvalidInputError(
            f"{plain(amount)} {currency} cannot be credited of line {line.line_no}, which asks for"
            f" {plain(line.amount)}.",
            "Give an amount of its sign, to the minor unit.",
            "lines",
        )
    if abs(amount) > abs(line.left):
        raise ConflictError(
            f"{plain(amount)} {currency} is more than is left of line {line.line_no}:"
            f" {plain(line.left)} of {plain(line.amount)}.",
            "Credit at most what is left.",
            "lines",
        )


def _tax_taken_back(
    key: TaxKey,
    lines: Sequence[CreditableLine],
    chosen: Mapping[int, Decimal],
    currency: str,
    mode: str,
) -> TaxLine:
    taxed = [line for line in lines if line.tax == key]
    before = total([line.credited for line in taxed])
    after = EXACT.add(before, total([chosen.get(line.line_no, ZERO) for line in taxed]))
    was, now = (tax_on(key, summed, currency, mode) for summed in (before, after))
    return TaxLine(key, EXACT.subtract(now.base, was.base), EXACT.subtract(now.amount, was.amount))
