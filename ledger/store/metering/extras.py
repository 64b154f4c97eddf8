"""What facts counted of extras: beside them in the database, and in a file of their own once the
facts of their day are in one.

Both move in one transaction, so that whoever looks into the database first misses nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date

import polars as pl

from ledger.domain.metering.extras import COUNTED
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.fact_columns import EXTRA_SCHEMA, FACT_KEY
from ledger.store.metering.retention import (
    EXTRA_TABLE,
    ArchivedDay,
    DayOfFacts,
    drop_filed,
    list_archived,
)
from ledger.store.queries import Connection, load_queries

QUERIES = load_queries("metering/extras")
# A fact by its place, and the ordinal under which its extras are asked for.
_ASKED = pl.Schema({**FACT_KEY, "n": COUNTED["ordinal"]})


async def find_extras(connection: Connection, facts: pl.DataFrame) -> pl.DataFrame | None:
    """What the facts at `batch_seq` and `fact_ordinal` count, under the `ordinal` of each row; None
    where they have no extras.

    What `scan_archived` raises where a file is away or changed.
    """
    asked = facts.select("batch_seq", pl.col("fact_ordinal").alias("ordinal"), n="ordinal")
    counted = await _find(connection, asked)
    return counted if counted.height else None


async def find_extras_at(
    connection: Connection, keys: Sequence[tuple[int, int]]
) -> Mapping[tuple[int, int], Mapping[str, int]]:
    """What the facts at (batch_seq, ordinal) count by meter, with their sign; of those that
    have extras."""
    asked = pl.DataFrame([(*key, n) for n, key in enumerate(keys)], _ASKED, orient="row")
    counted: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    for n, meter, quantity in (await _find(connection, asked)).iter_rows():
        counted[keys[n]][meter] = quantity
    return counted


async def _find(connection: Connection, asked: pl.DataFrame) -> pl.DataFrame:
    rows = await QUERIES["find_extras"].rows(
        connection,
        batch_seqs=asked["batch_seq"].to_list(),
        fact_ordinals=asked["ordinal"].to_list(),
        ordinals=asked["n"].to_list(),
    )
    here = [(row["ordinal"], row["meter"], row["quantity"]) for row in rows]
    counted = pl.DataFrame(here, COUNTED, orient="row")
    filed = await find_filed_extras(connection, asked)
    # A day that was dropped between two reads is in both.
    return pl.concat([counted, filed]).unique().sort("ordinal", "meter")


async def find_filed_extras(connection: Connection, asked: pl.DataFrame) -> pl.DataFrame:
    """What the facts at `batch_seq` and `ordinal` count, of days that are in files, under `n`."""
    asked = asked.select(pl.col(name).cast(dtype) for name, dtype in _ASKED.items())
    counted = [pl.DataFrame(schema=COUNTED)]
    batches = asked["batch_seq"].unique().sort()
    if batches.is_empty():
        return counted[0]
    days = await list_archived(
        connection, table=EXTRA_TABLE, since_seq=batches[0], until_seq=batches[-1]
    )
    for day in days:
        if batches.is_between(day.day.first_batch_seq, day.day.last_batch_seq).any():
            counted.append(await asyncio.to_thread(_read_filed, day, asked))
    return pl.concat(counted)


def _read_filed(day: ArchivedDay, asked: pl.DataFrame) -> pl.DataFrame:
    joined = scan_archived(day).join(asked.lazy(), on=list(FACT_KEY))
    return joined.select(ordinal="n", meter="meter", quantity="quantity").collect()


async def sum_filed_extras(connection: Connection) -> pl.DataFrame:
    """What all files hold of extras, by usage key, window and meter."""
    sums = [
        await asyncio.to_thread(_sum_filed, day)
        for day in await list_archived(connection, table=EXTRA_TABLE)
    ]
    return pl.concat(sums) if sums else _sums(pl.LazyFrame(schema=EXTRA_SCHEMA)).collect()


def _sum_filed(day: ArchivedDay) -> pl.DataFrame:
    return _sums(scan_archived(day)).collect()


def _sums(extras: pl.LazyFrame) -> pl.LazyFrame:
    window_start = pl.col("time").dt.truncate("15m").alias("window_start")
    return extras.group_by("usage_key_id", window_start, "meter").agg(
        pl.col("quantity").cast(pl.Int128).sum()
    )


async def close_extras(connection: Connection, day: date) -> DayOfFacts:
    """Measure what a day's facts have of extras."""
    row = await QUERIES["close_extras"].row(connection, day=day)
    assert row is not None, "a function has one row"
    return DayOfFacts(day, **dict(row))


async def read_extras(
    connection: Connection, day: date, *, size: int
) -> AsyncIterator[pl.DataFrame]:
    """What a day's facts count of extras, `size` rows at a time; needs a transaction."""
    async for page in QUERIES["read_extras"].pages(connection, size, day=day):
        yield pl.DataFrame([tuple(row) for row in page], EXTRA_SCHEMA, orient="row")


async def drop_archived_extras(connection: Connection, archived: ArchivedDay) -> None:
    """Drop extras of a day that lie in a file now; RestrictViolationError where rows differ."""
    await drop_filed(connection, QUERIES["drop_archived_extras"], archived)
