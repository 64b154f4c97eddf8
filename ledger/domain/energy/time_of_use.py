"""Which rate holds when, by month, kind of day and local hour, as utilities write it.

Invariant: stretches of neighbouring days meet, so that a day of 23 or 25 hours is exact.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias

from ledger.domain.period import Period, hours, midnight, zone

Schedule: TypeAlias = Sequence[Sequence[int]]
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class TimeOfUse:
    """Twelve rows of twenty-four rate numbers for weekdays and for weekends; None is always 0."""

    weekday: Schedule | None = None
    weekend: Schedule | None = None

    def rate_at(self, local: datetime) -> int:
        """The number of the rate at a local time."""
        schedule = self.weekday if local.weekday() < SATURDAY else self.weekend
        return 0 if schedule is None else schedule[local.month - 1][local.hour]

    def stretches(self, since: date, until: date, zone_name: str) -> Iterator[tuple[Period, int]]:
        """The longest stretches of one rate from the first day to before `until`, in order."""
        local = zone(zone_name)
        whole = Period(midnight(since, zone_name), midnight(until, zone_name))
        start, number = whole.start, self.rate_at(whole.start.astimezone(local))
        for hour in hours(whole, zone_name):
            at_hour = self.rate_at(hour.start.astimezone(local))
            if at_hour != number:
                yield Period(start, hour.start), number
                start, number = hour.start, at_hour
        yield Period(start, whole.end), number
