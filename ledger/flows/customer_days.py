"""Days of customers as parts of a stage: named by their first moment in the entity's zone."""

from collections.abc import Iterable, Sequence

from ledger.domain.parked import Part
from ledger.domain.period import day_of, local_day, midnight
from ledger.store.pricing.rating import CustomerDay, CustomerPeriod


def customer_days(
    touched: Iterable[CustomerDay], again: Iterable[Part], zone_name: str
) -> list[Part]:
    """Days that were touched and those that hold windows to try again, in order."""
    days = {*touched, *((customer, day_of(moment, zone_name)) for customer, moment in again)}
    starts = {day: midnight(day, zone_name) for day in {day for _, day in days}}
    return sorted((customer, starts[day]) for customer, day in days)


def customer_periods(days: Sequence[Part], zone_name: str) -> list[CustomerPeriod]:
    """The same days with the moments at which they end."""
    starts = {start for _, start in days}
    ends = {start: local_day(day_of(start, zone_name), zone_name).end for start in starts}
    return [(customer, start, ends[start]) for customer, start in days]
