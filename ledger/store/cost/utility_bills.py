"""Bills of utilities: what was entered, and what the days they are for were accrued at."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, Unpack

import asyncpg

from ledger.domain.cost.utility_bill import TOLERANCE_PCT, UtilityBill
from ledger.domain.period import Period
from ledger.store.cost.site_costs import ZonedSite
from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity, Within

BILLS = load_queries("cost/utility_bills")
# A bill of last year is settled, whatever it was.
TOLD_FOR = timedelta(days=100)


class RecordedBill(NamedTuple):
    """A bill and its row."""

    row_id: int
    bill: UtilityBill


class LineElectricity(NamedTuple):
    """What energy of a kind of cost line cost in a currency: of devices, and what the site adds."""

    line: str
    currency: str
    device_cost: Decimal
    overhead_cost: Decimal


@dataclass(frozen=True, slots=True)
class BillOff:
    """A final bill for [since, until) that is far from what its days were accrued at."""

    bill_id: str
    facility_id: str
    since: datetime
    until: datetime
    currency: str
    amount: Decimal
    accrued: Decimal
    amount_off_pct: Decimal | None


async def find_rival_bills(connection: Connection, bill: UtilityBill) -> list[RecordedBill]:
    """What is recorded under its id, or of its days and site; locked."""
    rows = await BILLS["find_rival_bills"].rows(
        connection,
        bill_id=bill.bill_id,
        facility_id=bill.facility_id,
        since=bill.period.start,
        until=bill.period.end,
    )
    return [RecordedBill(row["row_id"], _bill(row)) for row in rows]


async def write_bill(
    connection: Connection, bill: UtilityBill, *, closes: Sequence[int], batch_seq: int
) -> int:
    """Store a bill in place of the rows it `closes`; returns its row."""
    await BILLS["close_bills"].run(connection, row_ids=list(closes), batch_seq=batch_seq)
    row_id = await BILLS["insert_bill"].value(
        connection,
        bill_id=bill.bill_id,
        facility_id=bill.facility_id,
        currency=bill.currency,
        kwh=bill.kwh,
        net=bill.net,
        tax=bill.tax,
        covers=list(bill.covers),
        reference=bill.reference,
        final=bill.final,
        since=bill.period.start,
        until=bill.period.end,
        batch_seq=batch_seq,
    )
    return int(row_id)


async def is_over(connection: Connection, moment: datetime) -> bool:
    """Whether a moment is past."""
    return bool(await BILLS["is_over"].value(connection, moment=moment))


async def find_priced_in(connection: Connection, bill: UtilityBill) -> list[tuple[str, str]]:
    """(cost, currency) of the electricity, hardware and covered costs of its site and days."""
    rows = await BILLS["find_priced_in"].rows(
        connection,
        facility_id=bill.facility_id,
        since=bill.period.start,
        until=bill.period.end,
        covers=list(bill.covers),
    )
    return [(row["what"], row["currency"]) for row in rows]


async def find_bills(
    connection: Connection, facility_id: str, *, batch_seq: int
) -> tuple[bool, list[UtilityBill]]:
    """Whether a site ever had a bill, and its final ones in force at a cut-off."""
    rows = await BILLS["find_bills"].rows(connection, facility_id=facility_id, batch_seq=batch_seq)
    return bool(rows), [_bill(row) for row in rows if row["in_force"] and row["final"]]


async def list_bills_in(connection: Connection, **asked: Unpack[OfEntity]) -> list[UtilityBill]:
    """Bills of an entity's sites that have a day in [since, until)."""
    return [_bill(row) for row in await BILLS["list_bills_in"].rows(connection, **asked)]


async def sum_site_electricity(
    connection: Connection, site: ZonedSite, **within: Unpack[Within]
) -> Mapping[datetime, Sequence[LineElectricity]]:
    """What energy of a site cost on each local day, by line and currency."""
    rows = await BILLS["sum_site_electricity"].rows(
        connection, facility_id=site.facility_id, zone=site.zone, **within
    )
    by_day: dict[datetime, list[LineElectricity]] = defaultdict(list)
    for row in rows:
        by_day[row["day_start"]].append(
            LineElectricity(row["line"], row["currency"], row["device_cost"], row["overhead_cost"])
        )
    return by_day


async def list_bills_off(connection: Connection, *, now: datetime) -> list[BillOff]:
    """Bills of the last months that are off by more than the tolerance."""
    return await BILLS["list_bills_off"].values(
        connection, BillOff, ended_since=now - TOLD_FOR, tolerance_pct=TOLERANCE_PCT
    )


def _bill(row: asyncpg.Record) -> UtilityBill:
    return UtilityBill(
        bill_id=row["bill_id"],
        facility_id=row["facility_id"],
        currency=row["currency"],
        kwh=row["kwh"],
        net=row["net"],
        tax=row["tax"],
        covers=tuple(row["covers"]),
        reference=row["reference"],
        final=row["final"],
        period=Period(row["valid_from"], row["valid_to"]),
    )
