"""Days of readings that go to files, and what is read of them there.

Invariant: a query that reads a table of readings and what `lend` gives it finds what it found
before those days went to files.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta
from functools import cache

import polars as pl

from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.reading_columns import MOMENTS, SCHEMAS
from ledger.store.metering.retention import ArchivedDay, DayOfFacts, drop_filed, list_archived
from ledger.store.queries import Connection, Query, Rows, load_queries

READINGS = load_queries("metering/readings")
# Of a series that missed the last scrape the one before is looked for so far back.
OLDER = timedelta(days=1)


async def list_reading_days(connection: Connection, table: str, *, before: date) -> list[date]:
    """Days before one whose readings are in the database."""
    rows = await READINGS["list_reading_days"].rows(connection, table_name=table, before=before)
    return [row["stored_day"] for row in rows]


async def close_readings(connection: Connection, table: str, day: date) -> DayOfFacts:
    """Measure one day of readings."""
    row = await READINGS["close_readings"].row(connection, table_name=table, day=day)
    assert row is not None, "a function has one row"
    return DayOfFacts(day, **dict(row))


async def read_readings(
    connection: Connection, table: str, day: date, *, size: int
) -> AsyncIterator[pl.DataFrame]:
    """Readings of a day, every column, `size` at a time; needs a transaction."""
    schema = SCHEMAS[table]
    async for page in READINGS[f"read_{table}"].pages(connection, size, day=day):
        yield pl.DataFrame([tuple(row) for row in page], schema=schema, orient="row")


async def drop_archived_readings(connection: Connection, archived: ArchivedDay) -> None:
    """Leave of a day that is in a file what its neighbours need; RestrictViolationError where their
    rows differ."""
    query = READINGS["drop_archived_readings"]
    await drop_filed(connection, query, archived, table_name=archived.table)


async def find_allocated_seq(connection: Connection) -> int | None:
    """Up to which batch everybody's costs were allocated; None where nobody's ever were."""
    batch_seq: int | None = await READINGS["find_allocated_seq"].value(connection)
    return batch_seq


async def lend(
    connection: Connection,
    table: str,
    wanted: pl.Expr,
    series: str,
    *,
    since: datetime,
    until: datetime,
    batch_seq: int,
) -> str | None:
    """Readings in files that are `wanted`, around [since, until], with the one before and the one
    behind of each value of `series`; as JSON, or None where there are none, or none may be read.

    What `scan_archived` raises where a file is away or changed.
    """
    days = [
        each
        for each in await list_archived(connection, table=table, until_seq=batch_seq)
        if _holds(each.day, since - OLDER, until, batch_seq)
    ]
    if not days or not await READINGS["may_read"].value(connection):
        return None
    near = _near(MOMENTS[table], series, since, until)
    seen = wanted & (pl.col("batch_seq") <= batch_seq)

    def read() -> pl.DataFrame:
        return pl.concat(scan_archived(day).filter(seen).collect().filter(near) for day in days)

    lent = await asyncio.to_thread(read)
    return lent.write_json() if lent.height else None


def _holds(day: DayOfFacts, since: datetime, until: datetime, batch_seq: int) -> bool:
    """Whether a day may have what is not found in its table: inside, or at its edge as of then."""
    if day.first_time is None or day.last_time is None or day.last_batch_seq is None:
        return False
    return batch_seq < day.last_batch_seq or (day.first_time <= until and day.last_time >= since)


def _near(moment: str, series: str, since: datetime, until: datetime) -> pl.Expr:
    at = pl.col(moment)
    before = pl.when(at < since).then(at).max().over(series)
    behind = pl.when(at >= until).then(at).min().over(series)
    inside = (at >= since - OLDER) & (at <= until)
    return inside | (at == before).fill_null(value=False) | (at == behind).fill_null(value=False)


async def rows_with(
    connection: Connection, query: Query, table: str, lent: str | None, **given: object
) -> Rows:
    """The rows of a query that reads a table of readings, and what was lent."""
    if lent is None:
        return await query.rows(connection, **given)
    return await lending(query, table, lent).rows(connection, **given, lent=lent)


def lending(query: Query, table: str, lent: str | None) -> Query:
    """A query that reads a table of readings, or the same of it and what was `lent`."""
    return query if lent is None else _lending(query, table)


@cache
def _lending(query: Query, table: str) -> Query:
    number = len(query.parameters) + 1
    before, _, _ = READINGS[f"lend_{table}"].sql.rpartition("SELECT")
    before = before.replace("$1", f"${number}").rstrip()
    text = query.sql.replace(f"FROM {table} ", f"FROM every_{table} ").lstrip()
    named = text.removeprefix("WITH ")
    whole = f"{before} {text}" if named == text else f"{before}, {named}"
    return Query(f"{query.name} of files", whole, (*query.parameters, "lent"))


def strange_rows(kept: Sequence[pl.DataFrame], archived: ArchivedDay) -> int:
    """How many rows that stayed of a day are not among those of its file."""
    filed = scan_archived(archived).collect()
    stayed = pl.concat(kept, how="vertical") if kept else filed.clear()
    stayed = stayed.filter(pl.col("batch_seq") <= archived.day.last_batch_seq)
    return stayed.join(filed, on=stayed.columns, how="anti", nulls_equal=True).height
