"""Turns what hardware is worth into what has been written off by any moment, by three methods.

Invariant: what is written off grows from nothing at the start to the same sum at the end, so that
any cut of the time adds up. Amounts are whole 1e-12 of a currency.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from types import MappingProxyType

from ledger.domain.apportion import amount_of, units_of
from ledger.domain.money import ROUNDING, UNIT, divide_half_even
from ledger.domain.period import MICROSECOND, Period

MONTHS_A_YEAR = 12
HUNDRED = Decimal(100)
WHOLE = Decimal(1)
_KEPT = 4_096


@dataclass(frozen=True, slots=True)
class Schedule:
    """From `book` at the start of `life` to `residual` at its end; `rate_percent` is a year's."""

    book: int
    residual: int
    life: Period
    method: str
    rate_percent: Decimal

    def cost_until(self, until: datetime) -> int:
        """What it has cost since its start, interest included."""
        return METHODS[self.method][0](self, min(max(until, self.life.start), self.life.end))

    def book_at(self, moment: datetime) -> int:
        """What is not written off."""
        return METHODS[self.method][1](self, min(max(moment, self.life.start), self.life.end))

    def elapsed(self, until: datetime) -> int:
        """Microseconds of its life that are over."""
        return (until - self.life.start) // MICROSECOND


def add_months(moment: datetime, months: int) -> datetime:
    """The same day and time `months` later, or the month's last day where it has no such day."""
    years, zero_based = divmod(moment.month - 1 + months, MONTHS_A_YEAR)
    first = moment.replace(year=moment.year + years, month=zero_based + 1, day=1)
    next_first = (first + timedelta(days=32)).replace(day=1)
    last_day = (next_first - timedelta(days=1)).day
    return first.replace(day=min(moment.day, last_day))


def _even(plan: Schedule, until: datetime) -> int:
    spent = plan.book - plan.residual
    return divide_half_even(spent * plan.elapsed(until), plan.life.microseconds)


def _recovered(plan: Schedule, until: datetime) -> int:
    return divide_half_even(_annuities(plan) * plan.elapsed(until), plan.life.microseconds)


@lru_cache(_KEPT)
def _annuities(plan: Schedule) -> int:
    """All payments of a life: the yearly annuity times its years, rounded once."""
    rate, years = _yearly(plan), _years(plan.life)
    if not rate:
        return plan.book - plan.residual
    discount = ROUNDING.power(ROUNDING.add(WHOLE, rate), ROUNDING.minus(years))
    present = ROUNDING.subtract(
        amount_of(plan.book), ROUNDING.multiply(amount_of(plan.residual), discount)
    )
    factor = ROUNDING.divide(rate, ROUNDING.subtract(WHOLE, discount))
    return _units(ROUNDING.multiply(ROUNDING.multiply(present, factor), years))


@lru_cache(_KEPT)
def _owed(plan: Schedule, at: datetime) -> int:
    """What the payments still to come, and the residual, are worth at a moment."""
    rate, years = _yearly(plan), _years(plan.life)
    if not rate:
        return plan.book - _even(plan, at)
    rest = Decimal((plan.life.end - at) // MICROSECOND)
    left = ROUNDING.multiply(years, ROUNDING.divide(rest, Decimal(plan.life.microseconds)))
    discount = ROUNDING.power(ROUNDING.add(WHOLE, rate), ROUNDING.minus(left))
    yearly = ROUNDING.divide(amount_of(_annuities(plan)), years)
    payments = ROUNDING.divide(ROUNDING.multiply(yearly, ROUNDING.subtract(WHOLE, discount)), rate)
    residual = ROUNDING.multiply(amount_of(plan.residual), discount)
    return _units(ROUNDING.add(payments, residual))


def _declined(plan: Schedule, until: datetime) -> int:
    """By years of life, each evenly over its own length; the last one writes off what is left."""
    return sum(
        divide_half_even(amount * ((min(until, part.end) - part.start) // MICROSECOND), length)
        for part, amount, length in (
            (part, amount, part.microseconds) for part, amount in _declining_years(plan)
        )
        if part.start < until
    )


@lru_cache(_KEPT)
def _declining_years(plan: Schedule) -> tuple[tuple[Period, int], ...]:
    """So much of what is left in each year, or evenly over the rest, once that is more."""
    left, years = plan.book - plan.residual, []
    for part, whole in _years_of(plan.life):
        rest = (plan.life.end - part.start) // MICROSECOND
        evenly = divide_half_even(left * part.microseconds, rest)
        declining = divide_half_even(
            (left + plan.residual) * units_of(plan.rate_percent) * part.microseconds,
            whole * units_of(HUNDRED),
        )
        amount = min(max(evenly, declining), left)
        years.append((part, amount))
        left -= amount
    return tuple(years)


def _years_of(life: Period) -> Iterator[tuple[Period, int]]:
    """The years of a life, the last one cut at its end, and how long each would be uncut."""
    start, months = life.start, MONTHS_A_YEAR
    while start < life.end:
        end = add_months(life.start, months)
        yield Period(start, min(end, life.end)), (end - start) // MICROSECOND
        start, months = end, months + MONTHS_A_YEAR


def _years(life: Period) -> Decimal:
    parts = (
        ROUNDING.divide(Decimal(part.microseconds), Decimal(whole))
        for part, whole in _years_of(life)
    )
    return sum(parts, Decimal(0))


def _yearly(plan: Schedule) -> Decimal:
    return ROUNDING.divide(plan.rate_percent, HUNDRED)


def _units(exact: Decimal) -> int:
    return units_of(exact.quantize(UNIT, ROUND_HALF_EVEN, ROUNDING))


_By = Callable[[Schedule, datetime], int]
# What each method has cost by a moment, and what it has not written off then.
METHODS: Mapping[str, tuple[_By, _By]] = MappingProxyType(
    {
        "straight_line": (_even, lambda plan, at: plan.book - _even(plan, at)),
        "capital_recovery": (_recovered, _owed),
        "declining": (_declined, lambda plan, at: plan.book - _declined(plan, at)),
    }
)
