"""Turns moments and zones into half-open periods: windows, local hours, days, billing periods.

Invariant: a period is aware, in UTC, starts before it ends, and neighbours share one edge.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.domain.errors import InvalidInputError

WINDOW = timedelta(minutes=15)
WINDOW_SECONDS = 900
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# The end of what has none.
FAR = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """[start, end) in UTC; InvalidInputError where it is naive or empty."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise InvalidInputError("A period needs times with an offset.")
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))
        if self.start >= self.end:
            raise InvalidInputError(
                f"The period {self.start.isoformat()} to {self.end.isoformat()} is empty.",
                "Give an end after the start.",
            )

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    @property
    def microseconds(self) -> int:
        """Length in microseconds."""
        return (self.end - self.start) // MICROSECOND

    @property
    def seconds(self) -> int:
        """Length in whole seconds."""
        return (self.end - self.start) // timedelta(seconds=1)


def intersect(left: Period, right: Period) -> Period | None:
    """What both cover, or None."""
    start, end = max(left.start, right.start), min(left.end, right.end)
    return Period(start, end) if start < end else None


def hull(left: Period, right: Period) -> Period:
    """From the start of the first to the end of the last."""
    return Period(min(left.start, right.start), max(left.end, right.end))


def window_start(moment: datetime) -> datetime:
    """The start of the quarter hour of UTC that holds `moment`."""
    return moment.astimezone(UTC) - (moment - EPOCH) % WINDOW


def window_of(start: datetime) -> Period:
    """The window that starts at `start`, a moment on the grid."""
    return Period(start, start + WINDOW)


def windows(period: Period) -> Iterator[datetime]:
    """Starts of all windows that touch `period`."""
    at = window_start(period.start)
    while at < period.end:
        yield at
        at += WINDOW


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name; InvalidInputError where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInputError(
            f"There is no time zone {name!r}.", "Give an IANA name such as Europe/Copenhagen."
        ) from error


def midnight(day: date, zone_name: str) -> datetime:
    """The first moment of a local day, in UTC."""
    return datetime.combine(day, time(), tzinfo=zone(zone_name)).astimezone(UTC)


def day_of(moment: datetime, zone_name: str) -> date:
    """The local day that holds `moment`."""
    return moment.astimezone(zone(zone_name)).date()


def day_before(moment: datetime, zone_name: str) -> Period:
    """The local day before the one that holds `moment`."""
    today = day_of(moment, zone_name)
    return Period(midnight(today - timedelta(days=1), zone_name), midnight(today, zone_name))


def day_starts(since: datetime, until: datetime, zone_name: str) -> list[datetime]:
    """The first moments of all local days that hold a moment from `since` to `until`."""
    first, last = day_of(since, zone_name), day_of(until, zone_name)
    days = range(first.toordinal(), last.toordinal() + 1)
    return [midnight(date.fromordinal(day), zone_name) for day in days]


def local_day(day: date, zone_name: str) -> Period:
    """A local day: 23 or 25 hours long where clocks change."""
    return Period(midnight(day, zone_name), midnight(day + timedelta(days=1), zone_name))


def describe_days(period: Period, zone_name: str) -> str:
    """The period in local time as people write it; where it is of whole days, both are in it."""
    first, last = (moment.astimezone(zone(zone_name)) for moment in (period.start, period.end))
    if first.time() == last.time() == time():
        until = last.date() - timedelta(days=1)
        return f"{first:%F} to {until:%F}" if until > first.date() else f"{first:%F}"
    return f"{first:%F %R} to {last:%F %R}"


def hour_start(moment: datetime, zone_name: str) -> datetime:
    """The start, in UTC, of the local clock hour that holds `moment`.

    By the offset in force, so that half-hour zones and repeated hours come out right.
    """
    offset = moment.astimezone(zone(zone_name)).utcoffset() or timedelta()
    local = moment.astimezone(UTC) + offset
    return local - (local - EPOCH) % HOUR - offset


def hours(period: Period, zone_name: str) -> Iterator[Period]:
    """The local clock hours of `period`, clipped to it."""
    at = period.start
    while at < period.end:
        end = min(hour_start(at, zone_name) + HOUR, period.end)
        yield Period(at, end)
        at = end


def month_start(year: int, month: int, anchor_day: int, zone_name: str) -> datetime:
    """Where the billing period that starts in this month starts: on its last day where it has no
    anchor day; months may overflow a year."""
    years, zero_based = divmod(month - 1, 12)
    return midnight(_anchored(year + years, zero_based + 1, anchor_day), zone_name)


def _anchored(year: int, month: int, anchor_day: int) -> date:
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))


@lru_cache(maxsize=4_096)
def whole_billing_period(moment: datetime, *, anchor_day: int, zone_name: str) -> Period:
    """The monthly billing period that holds `moment`, from anchor day to anchor day in the zone."""
    if not 1 <= anchor_day <= 31:
        raise InvalidInputError(f"Anchor day {anchor_day} is not in 1..31.")
    local = moment.astimezone(zone(zone_name))
    begun = local.date() >= _anchored(local.year, local.month, anchor_day)
    month = local.month if begun else local.month - 1
    return Period(
        month_start(local.year, month, anchor_day, zone_name),
        month_start(local.year, month + 1, anchor_day, zone_name),
    )


def month_of(moment: datetime, zone_name: str) -> Period:
    """The calendar month that holds `moment` in the zone."""
    return whole_billing_period(moment, anchor_day=1, zone_name=zone_name)


def billing_period(
    moment: datetime, *, anchor_day: int, zone_name: str, clip: Period | None = None
) -> Period:
    """`whole_billing_period` clipped to `clip`, the validity of a subscription, which must hold the
    moment."""
    whole = whole_billing_period(moment, anchor_day=anchor_day, zone_name=zone_name)
    part = intersect(whole, clip) if clip else whole
    if part is None or moment not in part:
        raise InvalidInputError(f"No billing period holds {moment.isoformat()}.")
    return part
