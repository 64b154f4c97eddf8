"""Accrues what sites cost beside energy at its price and hardware, by local day of the site.

What is stored of a day is made up to what it comes to now by differences, and so is the journal.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby

from ledger.domain.apportion import amount_of
from ledger.domain.books.booking import site_cost_accrued
from ledger.domain.books.journal import JournalEntry
from ledger.domain.cost.site_cost import SiteCosts, SiteTerm, days_due, days_of
from ledger.domain.parked import Part
from ledger.domain.period import DAY, MICROSECOND, Period, billing_period, day_starts, intersect
from ledger.flows.cost.owe_bills import bill_entries
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.books.journal import book_entries
from ledger.store.connect import draw_batch_seq
from ledger.store.cost import site_costs
from ledger.store.cost.site_costs import DayCost, ZonedSite
from ledger.wire.site_inputs import UTILITY_BILL


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    sites = await site_costs.find_sites(context.connection, entity_id=context.entity.entity_id)
    parts: set[Part] = set()
    for site in sites:
        mine = [moment for name, moment in again if name in ("", site.facility_id)]
        parts.update((site.facility_id, day) for day in await _days_due(context, site, mine))
    by_name = {site.facility_id: site for site in sites}
    return Due(sorted(parts), partial(_accrue_days, context, by_name))


async def _days_due(
    context: StageContext, site: ZonedSite, again: Sequence[datetime]
) -> Sequence[datetime]:
    seq, last = context.cut_off.batch_seq, context.last
    touched = await site_costs.find_touched_periods(
        context.connection, site, since_seq=last.batch_seq, batch_seq=seq
    )
    if last.followed_to is not None:
        begun = day_starts(last.followed_to, context.now, site.zone)
        touched += [Period(day, day + MICROSECOND) for day in begun if day >= last.followed_to]
    touched += [Period(moment, moment + MICROSECOND) for moment in again]
    if not touched:
        return []
    terms = await site_costs.find_site_terms(context.connection, site.facility_id, batch_seq=seq)
    return days_due(touched, _bills(terms), site.zone, context.now)


def _bills(terms: Sequence[SiteTerm]) -> list[Period]:
    return [term.valid for term in terms if not term.model.by_month]


async def _accrue_days(
    context: StageContext, sites: Mapping[str, ZonedSite], due: Sequence[Part]
) -> int:
    rows = 0
    async with context.connection.transaction():
        for facility_id, parts in groupby(due, key=lambda part: part[0]):
            rows += await _accrue_site(context, sites[facility_id], [day for _, day in parts])
    return rows


async def _accrue_site(context: StageContext, site: ZonedSite, days: Sequence[datetime]) -> int:
    connection, cut_off = context.connection, context.cut_off
    terms = await site_costs.find_site_terms(
        connection, site.facility_id, batch_seq=cut_off.batch_seq
    )
    around = _around(days, _bills(terms), site.zone)
    use = await site_costs.find_use(
        connection,
        site.facility_id,
        since=around.start,
        until=around.end,
        batch_seq=cut_off.batch_seq,
    )
    costs = SiteCosts(site.zone, terms, use)
    wanted: dict[DayCost, int] = {}
    for day in days_of(Period(days[0], days[-1] + MICROSECOND), site.zone):
        if day.start in {*days}:
            wanted |= {(day.start, *key): amount for key, amount in costs.of_day(day).items()}
    return await _make_up(context, site, days, wanted)


def _around(days: Sequence[datetime], bills: Sequence[Period], zone_name: str) -> Period:
    """All that the costs of some days go by: whole months, and whole bills with their months."""
    months = [billing_period(day, anchor_day=1, zone_name=zone_name) for day in (days[0], days[-1])]
    whole = Period(months[0].start, months[-1].end)
    periods = [whole, *(bill for bill in bills if intersect(bill, whole))]
    ends = [
        max(period.end for period in periods) - MICROSECOND,
        min(period.start for period in periods),
    ]
    last, first = (billing_period(end, anchor_day=1, zone_name=zone_name) for end in ends)
    return Period(first.start, last.end)


async def _make_up(
    context: StageContext, site: ZonedSite, days: Sequence[datetime], wanted: Mapping[DayCost, int]
) -> int:
    connection, cut_off = context.connection, context.cut_off
    stored = await site_costs.find_stored(connection, site.facility_id, days)
    differences = {
        key: wanted.get(key, 0) - stored.get(key, 0)
        for key in {*wanted, *stored}
        if wanted.get(key, 0) != stored.get(key, 0)
    }
    billed = await bill_entries(context, site, days, wanted)
    if not differences and not billed:
        return 0
    batch_seq = await draw_batch_seq(connection)
    written = await site_costs.append_differences(
        connection,
        differences,
        facility_id=site.facility_id,
        entity_id=context.entity.entity_id,
        cut_off=cut_off,
        batch_seq=batch_seq,
    )
    entries = _entries(context, site, {(day, currency) for day, _, currency in differences}, wanted)
    booked = await book_entries(connection, billed, cut_off, batch_seq)
    await book_entries(connection, entries, cut_off, batch_seq)
    return written + booked


def _entries(
    context: StageContext,
    site: ZonedSite,
    changed: set[tuple[datetime, str]],
    wanted: Mapping[DayCost, int],
) -> list[JournalEntry]:
    by_day: dict[tuple[datetime, str], dict[str, int]] = defaultdict(dict)
    for (day, name, currency), amount in wanted.items():
        if name != UTILITY_BILL:
            by_day[day, currency][name] = amount
    return [
        JournalEntry(
            entity_id=context.entity.entity_id,
            kind="site cost",
            natural_key=f"site-cost:{site.facility_id}:{day:%Y-%m-%dT%H:%MZ}:{currency}",
            booked_for=day,
            description=f"Cost of {site.facility_id} in the day, beside energy and hardware",
            postings=site_cost_accrued(
                {name: amount_of(units) for name, units in by_day[day, currency].items()}, currency
            ),
        )
        for day, currency in sorted(changed)
    ]


accrue = Stage(
    name="accrue",
    step=DAY,
    chunk_parts=400,
    list_entities=site_costs.list_site_entities,
    find=_find,
    follows_clock=True,
)
