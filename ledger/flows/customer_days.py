"""Days of customers as parts of a stage: named by their first moment in the entity's zone."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import cache

from ledger.domain.parked import Part
from ledger.domain.period import day_of, local_day, midnight
from ledger.store.pricing.rating import CustomerDay, CustomerDays, CustomerPeriod


def with_days(days: CustomerDays, more: Iterable[CustomerDay]) -> CustomerDays:
    """Days of customers and more of them."""
    gathered: dict[str, set[date]] = defaultdict(set)
    for customer_id, day in more:
        gathered[customer_id].add(day)
    return days | {name: days.get(name, frozenset()).union(some) for name, some in gathered.items()}


def customer_days(days: CustomerDays, customers: Iterable[str], zone_name: str) -> list[Part]:
    """The days of customers, one customer after the other and each one's days in order."""
    starts = {day: midnight(day, zone_name) for day in frozenset[date]().union(*days.values())}

    @cache
    def in_order(some: frozenset[date]) -> list[datetime]:
        return [starts[day] for day in sorted(some)]

    return [(name, start) for name in customers for start in in_order(days[name])]


def customer_periods(days: Sequence[Part], zone_name: str) -> list[CustomerPeriod]:
    """The same days with the moments at which they end."""
    starts = {start for _, start in days}
    ends = {start: local_day(day_of(start, zone_name), zone_name).end for start in starts}
    return [(customer, start, ends[start]) for customer, start in days]
