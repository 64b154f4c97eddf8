"""Costs of sites: what was entered, what they go by, and what is stored by day."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeAlias, Unpack

from ledger.domain.apportion import amount_of, units_of
from ledger.domain.cost.site_cost import SiteTerm
from ledger.domain.cost.site_models import load_site_cost
from ledger.domain.cost.site_models.span import SiteUse, SiteWindow
from ledger.domain.entity import LegalEntity
from ledger.domain.period import Period, window_of
from ledger.store.connect import CutOff
from ledger.store.copying import copy_rows
from ledger.store.dated import DatedTable
from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity, Within
from ledger.wire.input_fields import LAST_MOMENT

SITES = load_queries("cost/site_costs")
SITE_COSTS = DatedTable(
    "site cost",
    ("facility_id", "name"),
    SITES["find_open_site_costs"],
    SITES["supersede_site_costs"],
    SITES["insert_site_cost"],
)
DayCost: TypeAlias = tuple[datetime, str, str]


class ZonedSite(NamedTuple):
    """A site and its time zone."""

    facility_id: str
    zone: str


class OpenBill(NamedTuple):
    """A bill as recorded now."""

    name: str
    of: Sequence[str]
    valid_from: datetime
    valid_to: datetime


class SiteCostSum(NamedTuple):
    """What a site cost under a name."""

    facility_id: str
    name: str
    currency: str
    amount: Decimal


class SiteDay(NamedTuple):
    """What a local day of a site cost under a name."""

    facility_id: str
    day_start: datetime
    name: str
    currency: str
    amount: Decimal


async def find_open_bills(
    connection: Connection, facility_id: str, *, valid_from: datetime, valid_to: datetime | None
) -> list[OpenBill]:
    """Bills of a site that overlap a time."""
    return await SITES["find_open_bills"].values(
        connection, OpenBill, facility_id=facility_id, valid_from=valid_from, valid_to=valid_to
    )


async def list_site_entities(connection: Connection, *, entity_id: str | None) -> list[LegalEntity]:
    """Entities whose sites have costs of their own, or the one named if it has any."""
    return await SITES["list_site_entities"].values(connection, LegalEntity, entity_id=entity_id)


async def find_sites(connection: Connection, *, entity_id: str) -> list[ZonedSite]:
    """Sites of an entity that have costs of their own."""
    return await SITES["find_sites"].values(connection, ZonedSite, entity_id=entity_id)


async def list_sites(connection: Connection, *, entity_id: str) -> list[ZonedSite]:
    """All sites of an entity."""
    return await SITES["list_sites"].values(connection, ZonedSite, entity_id=entity_id)


async def find_site_terms(
    connection: Connection, facility_id: str, *, batch_seq: int
) -> list[SiteTerm]:
    """Costs of a site as known at a cut-off."""
    rows = await SITES["find_site_terms"].rows(
        connection, facility_id=facility_id, batch_seq=batch_seq
    )
    return [
        SiteTerm(
            row["name"],
            row["currency"],
            Period(row["valid_from"], row["valid_to"] or LAST_MOMENT),
            load_site_cost(row["kind"], row["params"]),
        )
        for row in rows
    ]


async def find_touched_periods(
    connection: Connection, site: ZonedSite, *, since_seq: int, batch_seq: int
) -> list[Period]:
    """When inputs of a site, or its energy, changed after a cut-off."""
    asked = {"facility_id": site.facility_id, "since_seq": since_seq, "batch_seq": batch_seq}
    inputs = await SITES["find_changed_site_inputs"].rows(connection, **asked)
    days = await SITES["find_changed_site_days"].rows(connection, **asked, zone=site.zone)
    return [
        *(Period(row["valid_from"], row["valid_to"] or LAST_MOMENT) for row in inputs),
        *(window_of(row[column]) for row in days for column in ("first_window", "last_window")),
    ]


async def find_use(connection: Connection, facility_id: str, **within: Unpack[Within]) -> SiteUse:
    """What a site used in [since, until) as known at a cut-off."""
    windows = await SITES["find_site_windows"].rows(connection, facility_id=facility_id, **within)
    gpus = await SITES["find_site_gpus"].rows(connection, facility_id=facility_id, **within)
    return SiteUse(
        [
            SiteWindow(
                row["window_start"], row["currency"], int(row["energy_mj"]), units_of(row["cost"])
            )
            for row in windows
        ],
        [
            (Period(row["valid_from"], row["valid_to"] or LAST_MOMENT), row["gpu_count"])
            for row in gpus
        ],
    )


async def find_stored(
    connection: Connection, facility_id: str, days: Sequence[datetime]
) -> dict[DayCost, int]:
    """What is stored of some days, by day, name and currency, in 1e-12."""
    rows = await SITES["find_site_costs"].rows(connection, facility_id=facility_id, days=list(days))
    return {
        (row["day_start"], row["name"], row["currency"]): units_of(row["amount"]) for row in rows
    }


async def append_differences(
    connection: Connection,
    differences: Mapping[DayCost, int],
    *,
    facility_id: str,
    entity_id: str,
    cut_off: CutOff,
    batch_seq: int,
) -> int:
    """Store what days come to beyond what is stored; how many rows."""
    rows = [
        (facility_id, entity_id, *key, cut_off.cut_off_id, batch_seq, amount_of(amount))
        for key, amount in sorted(differences.items())
    ]
    if rows:
        columns = ["facility_id", "entity_id", "day_start", "name", "currency"]
        stamps = ["cut_off_id", "batch_seq", "amount"]
        await copy_rows(connection, "site_cost", [*columns, *stamps], rows)
    return len(rows)


async def sum_site_costs(connection: Connection, **asked: Unpack[OfEntity]) -> list[SiteCostSum]:
    """What sites of an entity cost beside energy and hardware."""
    return await SITES["sum_site_costs"].values(connection, SiteCostSum, **asked)


async def list_site_days(connection: Connection, **asked: Unpack[OfEntity]) -> list[SiteDay]:
    """The same by local day."""
    return await SITES["list_site_days"].values(connection, SiteDay, **asked)


async def find_scope_sites(connection: Connection, **asked: Unpack[OfEntity]) -> dict[str, str]:
    """At which site each deployment of an entity is."""
    rows = await SITES["find_scope_sites"].rows(connection, **asked)
    return {row["scope"]: row["facility_id"] for row in rows}
