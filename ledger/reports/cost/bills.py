"""Bills of utilities beside what their days were metered and accrued at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.apportion import amount_of
from ledger.domain.cost.site_cost import days_of
from ledger.domain.cost.utility_bill import TOLERANCE_PCT, BillComparison, UtilityBill
from ledger.domain.money import plain, total
from ledger.domain.period import MICROSECOND, day_of
from ledger.reports.cost.figures import UNKNOWN, known, kwh
from ledger.reports.report import Asked, PeriodReport, ReportScope, ReportTable, ScopedReport, Shown
from ledger.store.connect import CutOff
from ledger.store.cost import site_costs
from ledger.store.cost.utility_bills import list_bills_in
from ledger.store.queries import Connection
from ledger.store.within import Within
from ledger.wire.site_answers import Bills as BillsAnswer
from ledger.wire.site_inputs import ENERGY

COLUMNS = (
    *("bill", "site", "first day", "last day", "kWh", "metered kWh", "± %", "currency", "billed"),
    *("accrued", "difference", "± %", "reasons"),
)
FIRST = ("bill", "kWh", "± %", "billed", "difference", "reasons")


@dataclass(frozen=True, slots=True)
class ComparedBill:
    """A comparison, and the time zone of the bill's site."""

    compared: BillComparison
    zone: str


@dataclass(frozen=True, slots=True)
class BillsReport(ScopedReport):
    """Bills that have a day in [since, until) as known at a cut-off, in order of site and time."""

    bills: tuple[ComparedBill, ...]


async def bills_report(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
) -> BillsReport:
    """Each bill of the entity's sites, as a whole."""
    sites = await site_costs.list_sites(connection, entity_id=entity_id)
    zones = {site.facility_id: site.zone for site in sites}
    bills = await list_bills_in(
        connection, entity_id=entity_id, since=since, until=until, batch_seq=cut_off.batch_seq
    )
    compared = [
        ComparedBill(
            await compare(connection, entity_id, bill, zones[bill.facility_id], cut_off),
            zones[bill.facility_id],
        )
        for bill in bills
    ]
    return BillsReport(entity_id, since, until, cut_off, tuple(compared))


async def compare(
    connection: Connection, entity_id: str, bill: UtilityBill, zone_name: str, cut_off: CutOff
) -> BillComparison:
    """A bill beside what its days took and were accrued at."""
    within: Within = {
        "since": bill.period.start,
        "until": bill.period.end,
        "batch_seq": cut_off.batch_seq,
    }
    use = await site_costs.find_use(connection, bill.facility_id, **within)
    costs = await site_costs.list_site_days(connection, entity_id=entity_id, **within)
    accrued = [
        each.amount
        for each in costs
        if (each.facility_id, each.currency) == (bill.facility_id, bill.currency)
        and each.name in bill.covers
    ]
    if ENERGY in bill.covers:
        own = (window.cost for window in use.windows if window.currency == bill.currency)
        accrued.append(amount_of(sum(own)))
    days = {day.start for day in days_of(bill.period, zone_name)}
    read = {day_of(window.start, zone_name) for window in use.windows if window.energy_mj}
    return BillComparison(
        bill,
        sum(window.energy_mj for window in use.windows),
        total(accrued),
        len(days),
        len(days) - len(read),
    )


def _last_day(each: ComparedBill) -> str:
    return day_of(each.compared.bill.period.end - MICROSECOND, each.zone).isoformat()


def _first_day(each: ComparedBill) -> str:
    return day_of(each.compared.bill.period.start, each.zone).isoformat()


def _bill_json(each: ComparedBill) -> dict[str, object]:
    compared, bill = each.compared, each.compared.bill
    return {
        "bill_id": bill.bill_id,
        "facility_id": bill.facility_id,
        "first_day": _first_day(each),
        "last_day": _last_day(each),
        "kwh": plain(bill.kwh),
        "amount": plain(bill.net),
        "tax": plain(bill.tax),
        "currency": bill.currency,
        "covers": list(bill.covers),
        "reference": bill.reference,
        "final": bill.final,
        "metered_mj": compared.metered_mj,
        "metered_kwh": kwh(compared.metered_mj),
        "energy_off_pct": known(compared.energy_off_pct),
        "accrued": plain(compared.accrued),
        "difference": plain(compared.difference),
        "amount_off_pct": known(compared.amount_off_pct),
        "days": compared.days,
        "days_without_readings": compared.days_without_readings,
        "reasons": list(compared.reasons),
    }


def _to_json(report: BillsReport) -> Mapping[str, object]:
    return {
        **report.of_what(),
        "tolerance_pct": plain(TOLERANCE_PCT),
        "bills": [_bill_json(each) for each in report.bills],
    }


async def _read(connection: Connection, scope: ReportScope, _asked: Asked) -> BillsReport:
    return await bills_report(connection, **scope)


def _row(each: ComparedBill) -> tuple[str, ...]:
    compared, bill = each.compared, each.compared.bill
    kind = "" if bill.final else " (estimated)"
    return (
        *(f"{bill.bill_id}{kind}", bill.facility_id, _first_day(each), _last_day(each)),
        *(plain(bill.kwh), kwh(compared.metered_mj), known(compared.energy_off_pct) or UNKNOWN),
        *(bill.currency, plain(bill.net), plain(compared.accrued), plain(compared.difference)),
        *(known(compared.amount_off_pct) or UNKNOWN, told(compared.reasons)),
    )


def told(reasons: Sequence[str]) -> str:
    """What is wrong with a bill, as people read it."""
    return ", ".join(name.replace("_", " ") for name in reasons) or "nothing"


def _show(report: BillsReport, _asked: Asked) -> Iterator[Shown]:
    rows = [_row(each) for each in report.bills]
    yield ReportTable(
        f"Utility bills, beside what was metered and accrued (within {plain(TOLERANCE_PCT)} %)",
        COLUMNS,
        rows,
        first=FIRST,
    )


BILLS = PeriodReport(
    "bills",
    "/v1/bills",
    "Utility bills beside what was metered and accrued, and which differ by more than 5 %.",
    BillsAnswer,
    _read,
    _to_json,
    _show,
)
