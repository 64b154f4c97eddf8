"""What sites cost, by name and local day: energy at its price, and what is accrued beside it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from ledger.domain.apportion import amount_of
from ledger.domain.cost.site_models.span import SiteUse, SiteWindow
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import ROUNDING, plain, total
from ledger.domain.period import WINDOW_SECONDS, day_of
from ledger.reports.cost.figures import SIX, UNKNOWN, kwh
from ledger.reports.report import (
    Asked,
    PeriodReport,
    ReportOption,
    ReportScope,
    ReportTable,
    ScopedReport,
    Shown,
)
from ledger.store.connect import CutOff
from ledger.store.cost import site_costs
from ledger.store.queries import Connection
from ledger.store.within import Within
from ledger.wire.site_answers import Sites as SitesAnswer
from ledger.wire.site_inputs import ENERGY

MJ_PER_KWS = 1_000_000
BY = ("name", "day")


@dataclass(frozen=True, slots=True)
class NamedCost:
    """What a site cost under a name on a local day."""

    facility_id: str
    day: date
    name: str
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class UsedEnergy:
    """What a site used, in mJ, and in its highest quarter hour (None: no reading)."""

    facility_id: str
    energy_mj: int
    peak_mj: int | None


@dataclass(frozen=True, slots=True)
class SitesReport(ScopedReport):
    """Costs and energy of an entity's sites over [since, until) as known at a cut-off."""

    days: tuple[NamedCost, ...]
    energy: tuple[UsedEnergy, ...]

    @property
    def totals(self) -> list[tuple[str, str, str, Decimal]]:
        """Site, name, currency and amount over all days."""
        sums: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
        for each in self.days:
            sums[each.facility_id, each.name, each.currency].append(each.amount)
        return [(*key, total(sums[key])) for key in sorted(sums)]


async def sites_report(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
) -> SitesReport:
    """What each site of the entity cost and used."""
    within: Within = {"since": since, "until": until, "batch_seq": cut_off.batch_seq}
    sites = await site_costs.list_sites(connection, entity_id=entity_id)
    zones = {site.facility_id: site.zone for site in sites}
    accrued = await site_costs.list_site_days(connection, entity_id=entity_id, **within)
    days = [
        NamedCost(
            each.facility_id,
            day_of(each.day_start, zones[each.facility_id]),
            each.name,
            each.currency,
            each.amount,
        )
        for each in accrued
    ]
    energy = []
    for name, zone_name in zones.items():
        use = await site_costs.find_use(connection, name, **within)
        days += _electricity(name, use, zone_name)
        energy.append(_used(name, use.windows))
    ordered = sorted(days, key=lambda each: (each.facility_id, each.day, each.name, each.currency))
    return SitesReport(entity_id, since, until, cut_off, tuple(ordered), tuple(energy))


def _electricity(facility_id: str, use: SiteUse, zone_name: str) -> Iterator[NamedCost]:
    sums: dict[tuple[date, str], int] = defaultdict(int)
    for window in use.windows:
        sums[day_of(window.start, zone_name), window.currency] += window.cost
    for (day, currency), cost in sums.items():
        yield NamedCost(facility_id, day, ENERGY, currency, amount_of(cost))


def _used(facility_id: str, windows: Sequence[SiteWindow]) -> UsedEnergy:
    by_window: dict[datetime, int] = defaultdict(int)
    for window in windows:
        by_window[window.start] += window.energy_mj
    return UsedEnergy(facility_id, sum(by_window.values()), max(by_window.values(), default=None))


def _kw(peak_mj: int | None) -> str | None:
    if peak_mj is None:
        return None
    exact = ROUNDING.divide(Decimal(peak_mj), Decimal(MJ_PER_KWS * WINDOW_SECONDS))
    return plain(exact.quantize(SIX, ROUND_HALF_EVEN, ROUNDING))


def _to_json(report: SitesReport) -> Mapping[str, object]:
    return {
        **report.of_what(),
        "totals": [
            {"facility_id": site, "name": name, "currency": currency, "amount": plain(amount)}
            for site, name, currency, amount in report.totals
        ],
        "days": [
            {
                "facility_id": each.facility_id,
                "day": each.day,
                "name": each.name,
                "currency": each.currency,
                "amount": plain(each.amount),
            }
            for each in report.days
        ],
        "energy": [
            {
                "facility_id": each.facility_id,
                "energy_mj": each.energy_mj,
                "energy_kwh": kwh(each.energy_mj),
                "peak_kw": _kw(each.peak_mj),
            }
            for each in report.energy
        ],
    }


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> SitesReport:
    if asked.options["by"] not in BY:
        raise InvalidInputError(f"by: found {asked.options['by']!r}.", "Send name or day.", "by")
    return await sites_report(connection, **scope)


def _show(report: SitesReport, asked: Asked) -> Iterator[Shown]:
    by_day = asked.options["by"] == "day"
    columns: tuple[str, ...] = ("site", "cost", "currency", "amount")
    rows: list[tuple[str, ...]] = [(*row[:3], plain(row[3])) for row in report.totals]
    if by_day:
        columns = ("site", "day", "cost", "currency", "amount")
        rows = [
            (each.facility_id, each.day.isoformat(), each.name, each.currency, plain(each.amount))
            for each in report.days
        ]
    yield ReportTable("Costs of sites", columns, rows, numbers=1)
    used = [
        (each.facility_id, kwh(each.energy_mj), _kw(each.peak_mj) or UNKNOWN)
        for each in report.energy
    ]
    yield ReportTable("Energy of sites", ("site", "kWh", "peak kW"), used, numbers=2)


SITES = PeriodReport(
    "sites",
    "/v1/sites",
    "What sites cost and used: energy at its price, demand, tiers, standing costs, taxes and bills,"
    " by name and local day.",
    SitesAnswer,
    _read,
    _to_json,
    _show,
    (ReportOption("by", "name", "name or day.", shown_only=True),),
)
