"""Facts wherever they are: in the database, or in the files of archived days."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import polars as pl

from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.billing.traced import TracedEvent
from ledger.store.billing.trace import trace_events, trace_windows
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.correction import FirstFact, fact_rows_frame, find_first, find_standing
from ledger.store.metering.retention import (
    ArchivedDay,
    find_key_customers,
    find_standing_ids,
    list_archived,
    list_source_names,
)
from ledger.store.queries import Connection

# The columns of an archived fact that are shown as they are.
SHOWN = tuple(each.name for each in fields(TracedEvent) if each.name != "source")


async def find_standing_facts(
    connection: Connection, places: Sequence[tuple[int, int]]
) -> pl.DataFrame:
    """`find_standing`, with facts of archived days."""
    found = await find_standing(connection, places)
    if found.height == len(places):
        return found
    at_hand = set(found["n"].to_list())
    standing = await find_standing_ids(connection, places)
    missing = {(seq, ordinal): n for n, seq, ordinal in standing if n not in at_hand}
    rows = await _read_ids_of(connection, missing) if missing else []
    return pl.concat([found, fact_rows_frame(rows)]) if rows else found


async def find_first_facts(
    connection: Connection, places: Sequence[tuple[int, int]]
) -> dict[int, FirstFact]:
    """`find_first` by position, with facts of archived days.

    UnavailableError where the file of a day is not there.
    """
    found = dict(enumerate(await find_first(connection, places)))
    missing = {places[n]: n for n, one in found.items() if not (one.is_usage or one.refused)}
    for row in await _read_ids_of(connection, missing) if missing else []:
        found[row["n"]] = FirstFact(True, row["customer_id"], False)
    return found


async def _read_ids_of(
    connection: Connection, places: Mapping[tuple[int, int], int]
) -> list[dict[str, Any]]:
    batches = sorted({batch_seq for batch_seq, _ in places})
    days = await list_archived(connection, since_seq=batches[0], until_seq=batches[-1])
    rows = [
        row
        for day in days
        for row in await asyncio.to_thread(_read_batches, day, batches)
        if (row["batch_seq"], row["ordinal"]) in places
    ]
    customers = await find_key_customers(connection, [row["usage_key_id"] for row in rows])
    return [
        row
        | {
            "n": places[row["batch_seq"], row["ordinal"]],
            "customer_id": customers[row["usage_key_id"]],
        }
        for row in rows
    ]


def _read_batches(day: ArchivedDay, batches: Sequence[int]) -> list[dict[str, Any]]:
    facts = scan_archived(day).filter(pl.col("batch_seq").is_in(list(batches)))
    return facts.collect().to_dicts()


async def trace_line(
    connection: Connection,
    *,
    line: InvoiceLine,
    customer_id: str,
    batch_seq: int,
    after: tuple[int, int] = (0, -1),
    limit: int = 1_000,
) -> list[TracedEvent]:
    """`trace_events`, with facts of archived days, in stored order."""
    found = await trace_events(
        connection,
        line=line,
        customer_id=customer_id,
        batch_seq=batch_seq,
        after=after,
        limit=limit,
    )
    days = await list_archived(
        connection,
        since_seq=after[0],
        until_seq=batch_seq,
        since=line.key.service_start,
        until=line.key.service_end,
    )
    if not days:
        return found
    windows = _windows(
        await trace_windows(connection, line=line, customer_id=customer_id, batch_seq=batch_seq)
    )
    names = await list_source_names(connection)

    def read(day: ArchivedDay) -> list[dict[str, Any]]:
        facts = _of_windows(scan_archived(day), windows, batch_seq, after)
        return facts.head(limit).collect().to_dicts()

    for day in days:
        found += [_traced(row, names) for row in await asyncio.to_thread(read, day)]
    # A day that was dropped between the two reads is in both.
    each = {event.stored_at: event for event in found}
    return [each[at] for at in sorted(each)][:limit]


def _windows(pairs: Sequence[tuple[int, datetime]]) -> pl.LazyFrame:
    schema: Mapping[str, Any] = {
        "usage_key_id": pl.Int64,
        "window_start": pl.Datetime("us", "UTC"),
    }
    return pl.LazyFrame(pairs, schema=schema, orient="row")


def _of_windows(
    facts: pl.LazyFrame, windows: pl.LazyFrame, batch_seq: int, after: tuple[int, int]
) -> pl.LazyFrame:
    seq, ordinal = pl.col("batch_seq"), pl.col("ordinal")
    return (
        facts.filter(
            (seq <= batch_seq) & ((seq > after[0]) | ((seq == after[0]) & (ordinal > after[1])))
        )
        .with_columns(window_start=pl.col("time").dt.truncate("15m"))
        .join(windows, on=["usage_key_id", "window_start"], how="semi")
        .sort("batch_seq", "ordinal")
    )


def _traced(row: Mapping[str, Any], names: Mapping[int, str]) -> TracedEvent:
    shown = {name: row[name] for name in SHOWN}
    return TracedEvent(source=names.get(row["source_id"]), **shown)
