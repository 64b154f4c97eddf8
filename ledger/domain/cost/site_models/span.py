"""What a rule of a site's cost goes by: what the site used up to a moment of a billing period."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar, Protocol, TypeAlias

from ledger.domain.money import LEDGER_SCALE, divide_half_even
from ledger.domain.period import Period, intersect

UNITS = 10**LEDGER_SCALE


@dataclass(frozen=True, slots=True)
class SiteWindow:
    """Energy of a site in one quarter hour in mJ, and what it cost in a currency, in 1e-12."""

    start: datetime
    currency: str
    energy_mj: int
    cost: int


@dataclass(frozen=True, slots=True)
class SiteUse:
    """What a site used: quarter hours in order of their start, and GPUs that stood there."""

    windows: Sequence[SiteWindow]
    gpus: Sequence[tuple[Period, int]] = ()
    _starts: list[datetime] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", [window.start for window in self.windows])

    def within(self, since: datetime, until: datetime) -> Sequence[SiteWindow]:
        """The quarter hours that begin in [since, until)."""
        return self.windows[bisect_left(self._starts, since) : bisect_left(self._starts, until)]

    def gpu_microseconds(self, period: Period) -> int:
        """GPUs times the microseconds they stood there."""
        parts = ((intersect(stood, period), count) for stood, count in self.gpus)
        return sum(part.microseconds * count for part, count in parts if part is not None)


# What kinds of cost came to on each local day of a period, in 1e-12.
CameTo: TypeAlias = Callable[[Sequence[str], datetime, datetime], Sequence[int]]


@dataclass(frozen=True, slots=True)
class SiteSpan:
    """[start, until) of `period`, the part of a billing month (or of a bill's time) in which a
    cost is valid; `month` is all of that month."""

    period: Period
    month: Period
    until: datetime
    zone_name: str
    use: SiteUse
    came_to: CameTo

    @property
    def elapsed(self) -> Period | None:
        """The part that is over; None at the start."""
        return Period(self.period.start, self.until) if self.until > self.period.start else None

    @property
    def windows(self) -> Sequence[SiteWindow]:
        """Its quarter hours up to `until`."""
        return self.use.within(self.period.start, self.until)


class SiteCostModel(Protocol):
    """A rule of a site's cost. What it goes by are costs of a lower `rank` alone."""

    rank: ClassVar[int]
    by_month: ClassVar[bool]

    def up_to(self, span: SiteSpan) -> int:
        """What the period has come to by `span.until`, in 1e-12; nothing at its start."""


def units(amount: Decimal | Fraction) -> int:
    """An amount in 1e-12, rounded once, half even."""
    exact = Fraction(amount) * UNITS
    return divide_half_even(exact.numerator, exact.denominator)
