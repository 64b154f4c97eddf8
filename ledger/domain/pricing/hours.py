"""Hours of the week at which a price holds: local, by the quarter hour, so that each instant of a
day of 23 or 25 hours is inside or outside once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from ledger.domain.errors import InvalidInputError
from ledger.domain.period import WINDOW, Period, windows, zone

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAME = "|".join(_DAYS)
_TEXT = re.compile(
    rf"(?:(?P<first>{_NAME})(?:-(?P<last>{_NAME}))? )?"
    r"(?P<since>\d\d:\d\d)-(?P<until>\d\d:\d\d) (?P<zone>\S+)",
    re.ASCII,
)
QUARTERS_A_DAY, QUARTERS_A_WEEK = 96, 672
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PriceHours:
    """As text, like `mon-fri 22:00-06:00 Europe/Copenhagen`, and which quarter hours of a local
    week these are; those behind midnight belong to the day they began on."""

    text: str
    zone: str
    quarters: frozenset[int]

    def hold(self, at: datetime) -> bool:
        """Whether a window that starts then is among them."""
        local = at.astimezone(zone(self.zone))
        return local.weekday() * QUARTERS_A_DAY + local.hour * 4 + local.minute // 15 in (
            self.quarters
        )

    def meet(self, other: "PriceHours") -> bool:
        """Whether some instant may be in both; of two zones nobody promises that none is."""
        return self.zone != other.zone or not self.quarters.isdisjoint(other.quarters)

    def edges(self, within: Period) -> Iterator[datetime]:
        """The moments in a period at which they begin or end."""
        day = within.start.replace(hour=0, minute=0, second=0, microsecond=0)
        while day < within.end:
            yield from (edge for edge in _edges(self, day) if within.start < edge < within.end)
            day += _DAY


@lru_cache(maxsize=1_024)
def read_hours(text: str) -> PriceHours:
    """The hours that a text says; InvalidInputError names what it lacks."""
    said = _TEXT.fullmatch(text)
    if said is None:
        raise InvalidInputError(
            f"{text!r} names no hours.", "Write them like mon-fri 22:00-06:00 Europe/Copenhagen."
        )
    zone(said["zone"])
    since, until = _quarter(text, said["since"]), _quarter(text, said["until"])
    length = (until - since) % QUARTERS_A_DAY or QUARTERS_A_DAY
    first = _DAYS.index(said["first"] or "mon")
    last = _DAYS.index(said["last"] or said["first"] or "sun")
    days = [(first + n) % 7 for n in range((last - first) % 7 + 1)]
    quarters = frozenset(
        (day * QUARTERS_A_DAY + since + n) % QUARTERS_A_WEEK for day in days for n in range(length)
    )
    return PriceHours(text, said["zone"], quarters)


def _quarter(text: str, clock: str) -> int:
    hour, minute = int(clock[:2]), int(clock[3:])
    if minute % 15 or minute > 45 or hour * 60 + minute > 24 * 60:
        raise InvalidInputError(f"{text!r} has {clock}.", "Hours begin and end on quarter hours.")
    return hour * 4 + minute // 15


@lru_cache(maxsize=100_000)
def _edges(hours: PriceHours, day: datetime) -> tuple[datetime, ...]:
    """Edges in a day of UTC, its first moment included."""
    starts = list(windows(Period(day, day + _DAY)))
    inside = [hours.hold(at) for at in (day - WINDOW, *starts)]
    return tuple(at for n, at in enumerate(starts) if inside[n] != inside[n + 1])
