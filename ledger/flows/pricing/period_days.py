"""Which days prices touch that look at a billing period as a whole.

A day changes what the days behind it in its period add, so they are due with it; what follows from
time is due as days begin.
"""

from collections.abc import Iterator, Set
from datetime import date, datetime, timedelta

from ledger.domain.period import MICROSECOND, Period, day_of, day_starts, intersect, local_day
from ledger.domain.pricing.models import TIMED_KINDS
from ledger.domain.pricing.subscription import Subscription
from ledger.flows.pricing.price_book import Subscribed, members_of
from ledger.flows.stage import StageContext
from ledger.store.cost import cost
from ledger.store.pricing import rating_periods
from ledger.store.pricing.rating import CustomerDay

# Usage may be dated a little ahead of the clock.
AHEAD = timedelta(days=2)


async def find_timed_days(context: StageContext, subscribed: Subscribed) -> set[CustomerDay]:
    """Days on which fees, minimums and cost that is asked for changed since the last run, and those
    that began since."""
    home, days = context.entity.zone, set()
    changed = await rating_periods.find_changed_terms(
        context.connection,
        entity_id=context.entity.entity_id,
        kinds=TIMED_KINDS,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    # A day that begins now has begun: the next run follows from behind it.
    begun = context.now + MICROSECOND
    for terms in changed:
        until = min(terms.until or begun, begun)
        if terms.since < until:
            span = Period(terms.since, until)
            days |= {(terms.customer_id, day) for day in _days(span, home)}
    days |= await _recosted(context, subscribed)
    followed = context.last.followed_to
    if followed is not None and followed < context.now:
        days |= set(_begun(subscribed, Period(followed, context.now), home))
    return days


async def _recosted(context: StageContext, subscribed: Subscribed) -> set[CustomerDay]:
    """Days whose cost was allocated anew, of who pays by it."""
    cards = {each.rate_card_id for some in subscribed.values() for each in some}
    plus = await rating_periods.list_cost_plus_cards(
        context.connection, rate_card_ids=cards, batch_seq=context.cut_off.batch_seq
    )
    if not plus:
        return set()
    windows = await cost.find_changed_costs(
        context.connection,
        entity_id=context.entity.entity_id,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    days = {day_of(window, context.entity.zone) for window in windows}
    payers = {
        customer_id
        for customer_id, some in subscribed.items()
        if any(each.rate_card_id in plus and each.payer_id is None for each in some)
    }
    return {(customer_id, day) for customer_id in payers for day in days}


def with_days_behind(
    touched: Set[CustomerDay], subscribed: Subscribed, *, zone_name: str, now: datetime
) -> set[CustomerDay]:
    """The days, and those behind them in billing periods whose prices look at all of them: of
    everybody whose usage the same subscription prices."""
    days, members = set(touched), members_of(subscribed)
    for customer_id, day in touched:
        whole = local_day(day, zone_name)
        for subscription in subscribed.get(customer_id, ()):
            for period in periods_of(subscription, whole):
                behind = Period(whole.start, max(min(period.end, now + AHEAD), whole.end))
                several = members[subscription.subscription_id]
                days |= {(name, each) for each in _days(behind, zone_name) for name in several}
    return days


def periods_of(subscription: Subscription, within: Period) -> Iterator[Period]:
    """The billing periods of a subscription that hold a moment of a period, in order."""
    valid = intersect(subscription.validity, within)
    at = valid.start if valid else None
    while valid and at is not None and at < valid.end:
        period = subscription.billing_period(at)
        yield period
        at = period.end


def _begun(subscribed: Subscribed, since: Period, home: str) -> Iterator[CustomerDay]:
    """Days of subscriptions of which a part began behind the start of a period and in it."""
    starts: dict[str, set[datetime]] = {}
    for customer_id, subscriptions in subscribed.items():
        for each in subscriptions:
            if each.payer_id is not None:
                continue
            if each.zone not in starts:
                midnights = {
                    *day_starts(since.start, since.end, home),
                    *day_starts(since.start, since.end, each.zone),
                }
                starts[each.zone] = {at for at in midnights if since.start < at <= since.end}
            for at in (*starts[each.zone], each.valid_from):
                if at in each.validity and since.start < at <= since.end:
                    yield customer_id, day_of(at, home)


def _days(span: Period, zone_name: str) -> Iterator[date]:
    first, last = day_of(span.start, zone_name), day_of(span.end - MICROSECOND, zone_name)
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield first.fromordinal(ordinal)
