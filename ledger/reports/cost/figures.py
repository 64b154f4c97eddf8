"""Figures of energy and cost as reports say them: rounded once, and between what they lie."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from ledger.domain.cost.cause import cause_of
from ledger.domain.money import ROUNDING, UNIT, plain
from ledger.wire.units import MJ_PER_J, MJ_PER_KWH

SIX, HUNDREDTH, TENTH = Decimal("0.000001"), Decimal("0.01"), Decimal("0.1")
MILLION = 10**6
UNKNOWN = "–"


def line_name(line: str, scope: str) -> str:
    """What is nobody's, of what and why, as a table says it.

    >>> line_name("idle", "deployment:chat")
    'idle of deployment:chat, at rest'
    """
    return f"{line} of {scope}, {cause_of(line, scope).replace('_', ' ')}"


def known(value: Decimal | None) -> str | None:
    """A decimal as text; None where it is not known."""
    return None if value is None else plain(value)


def kwh(energy_mj: int) -> str:
    """Energy in kWh, six decimals."""
    exact = ROUNDING.divide(Decimal(energy_mj), Decimal(MJ_PER_KWH))
    return plain(exact.quantize(SIX, ROUND_HALF_EVEN, ROUNDING))


def joules_per_output_token(energy_mj: int, output_tokens: int | None) -> str | None:
    """Joules per output token, six decimals; None without output or energy: unknown is not 0."""
    if not output_tokens or not energy_mj:
        return None
    joules = ROUNDING.divide(Decimal(energy_mj), Decimal(output_tokens * MJ_PER_J))
    return plain(joules.quantize(SIX, ROUND_HALF_EVEN, ROUNDING))


def each_million(amount: Decimal, tokens: int, unit: int = 1) -> str:
    """What a million of so many tokens took, in `unit` parts of what the amount is in."""
    exact = ROUNDING.divide(ROUNDING.multiply(amount, Decimal(MILLION)), Decimal(tokens * unit))
    return plain(exact.quantize(UNIT, ROUND_HALF_EVEN, ROUNDING))


def percent(part: Fraction | None) -> str | None:
    """A part in per cent, one decimal."""
    return None if part is None else rounded(part * 100, TENTH)


def rounded(value: Fraction, unit: Decimal) -> str:
    """To a power of ten, half even."""
    exact = ROUNDING.divide(Decimal(value.numerator), Decimal(value.denominator))
    return plain(exact.quantize(unit, ROUND_HALF_EVEN, ROUNDING))


def ends(value: str | None, off: Fraction | None, unit: Decimal = UNIT) -> dict[str, str] | None:
    """A figure less and more by a part of it; None where either is unknown."""
    if value is None or off is None:
        return None
    return between(Fraction(value) * (1 - off), Fraction(value) * (1 + off), unit)


def between(end: Fraction, other: Fraction, unit: Decimal = UNIT) -> dict[str, str]:
    """Two ends, the lower one first."""
    low, high = sorted((end, other))
    return {"low": rounded(low, unit), "high": rounded(high, unit)}


def figures_of_tokens(
    energy_mj: int, cost: Decimal, tokens: int, output: int
) -> Mapping[str, str | None]:
    """Joules of an output token and cost of a million tokens; None of none."""
    joules = each_million(Decimal(energy_mj), output, MJ_PER_J * MILLION) if output else None
    return {
        "joules_per_output_token": joules,
        "cost_per_million": each_million(cost, tokens) if tokens else None,
    }
