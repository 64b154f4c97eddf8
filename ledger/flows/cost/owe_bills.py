"""Books what utilities ask for: what its days were accrued at is owed, with what it is beyond."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from ledger.domain.apportion import amount_of
from ledger.domain.books.journal import JournalEntry, Posting
from ledger.domain.books.utility import BilledDay, accounts_of, utility_billed
from ledger.domain.cost.utility_bill import UtilityBill
from ledger.domain.money import ZERO
from ledger.domain.period import DAY, MICROSECOND, day_of
from ledger.flows.stage import StageContext
from ledger.store.cost import utility_bills
from ledger.store.cost.site_costs import DayCost, ZonedSite
from ledger.store.cost.utility_bills import LineElectricity
from ledger.store.queries import Connection
from ledger.wire.site_inputs import ENERGY, UTILITY_BILL


async def bill_entries(
    context: StageContext, site: ZonedSite, days: Sequence[datetime], costs: Mapping[DayCost, int]
) -> list[JournalEntry]:
    """An entry a day of a site that ever had a bill, without postings where none is in force;
    `costs` are those of the days by name and currency, in 1e-12."""
    connection: Connection = context.connection
    batch_seq = context.cut_off.batch_seq
    has_any, bills = await utility_bills.find_bills(
        connection, site.facility_id, batch_seq=batch_seq
    )
    if not has_any:
        return []
    energy = await utility_bills.sum_site_electricity(
        connection, site, since=days[0], until=days[-1] + 2 * DAY, batch_seq=batch_seq
    )
    return [
        JournalEntry(
            entity_id=context.entity.entity_id,
            kind=UTILITY_BILL,
            natural_key=f"utility-bill:{site.facility_id}:{day:%Y-%m-%dT%H:%MZ}",
            booked_for=day,
            description=f"Day of the utility bill of {site.facility_id}",
            postings=_postings(site, day, bills, energy.get(day, ()), costs),
        )
        for day in days
    ]


def _postings(
    site: ZonedSite,
    day: datetime,
    bills: Sequence[UtilityBill],
    energy: Sequence[LineElectricity],
    costs: Mapping[DayCost, int],
) -> tuple[Posting, ...]:
    bill = next((each for each in bills if each.period.start <= day < each.period.end), None)
    if bill is None:
        return ()
    own = [
        (each.line, each.device_cost, each.overhead_cost)
        for each in energy
        if each.currency == bill.currency and ENERGY in bill.covers
    ]
    sites = sum(costs.get((day, name, bill.currency), 0) for name in bill.covers)
    is_last = day_of(day, site.zone) == day_of(bill.period.end - MICROSECOND, site.zone)
    return utility_billed(
        BilledDay(
            currency=bill.currency,
            accrued=accounts_of(own, amount_of(sites)),
            variance=amount_of(costs.get((day, UTILITY_BILL, bill.currency), 0)),
            tax=bill.tax if is_last else ZERO,
        )
    )
