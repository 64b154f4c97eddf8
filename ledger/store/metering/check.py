"""Reads what a check compares with the facts: the sums that are stored."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ledger.domain.metering.check.cells import WIDE, sum_exactly
from ledger.domain.metering.check.windows import (
    ACTIVITY_COUNTS,
    ACTIVITY_KEYS,
    MARK_COUNTS,
    USAGE_COUNTS,
    BusySeconds,
)
from ledger.domain.metering.key import EngineKeyRow
from ledger.store.binary_read import BITS_900, INT8, TIME, read_arrays, read_columns
from ledger.store.copying import copy_out
from ledger.store.memory import allow_memory
from ledger.store.queries import Connection, load_queries

CHECK = load_queries("metering/check")
USAGE_CELL = {"usage_key_id": INT8, "window_start": TIME}
ENGINE_CELL = {"engine_key_id": INT8, "window_start": TIME}
MASK_LAYOUT = {"engine_key_id": INT8, "window_start": TIME, "mask": BITS_900}


@dataclass(frozen=True, slots=True)
class MisplacedUsage:
    """A usage window with rows under another customer than its key's, of `differing` in all."""

    usage_key_id: int
    window_start: datetime
    customer_id: str | None
    stored_customer_id: str | None
    differing: int


@dataclass(frozen=True, slots=True)
class UsageNames:
    """Who and what a usage key stands for."""

    usage_key_id: int
    customer_ref: str
    model: str
    tier: str


@asynccontextmanager
async def one_snapshot(connections: Sequence[Connection]) -> AsyncIterator[None]:
    """Let all connections read the same state, with every partition of facts kept in its place."""
    async with AsyncExitStack() as stack:
        lead, *others = connections
        await _begin(stack, lead)
        # Before the first read, so that what was moved away by then is seen as moved.
        await CHECK["lock_facts"].run(lead)
        name = str(await CHECK["export_snapshot"].value(lead))
        for other in others:
            await _begin(stack, other)
            await other.execute(CHECK["take_snapshot"].sql.replace("exported", name))
        yield


async def _begin(stack: AsyncExitStack, connection: Connection) -> None:
    await stack.enter_async_context(connection.transaction(isolation="repeatable_read"))
    await allow_memory(connection)


async def count_received(connection: Connection) -> int:
    """Events that became facts or readings: an estimate of facts where nothing better is known."""
    return int(await CHECK["count_received"].value(connection))


async def read_usage_sums(connection: Connection, *, batch_seq: int) -> pl.DataFrame:
    """What is stored of each usage window, starts in microseconds."""
    stream = await copy_out(connection, CHECK["read_usage_sums"], batch_seq=batch_seq)
    return _whole_sums(stream, USAGE_CELL, USAGE_COUNTS)


async def read_activity_sums(connection: Connection, *, batch_seq: int) -> pl.DataFrame:
    """What is stored of each activity window, starts in microseconds."""
    stream = await copy_out(connection, CHECK["read_activity"], batch_seq=batch_seq)
    return await asyncio.to_thread(_activity_sums, stream)


def _activity_sums(stream: bytes) -> pl.DataFrame:
    """Sums added up here: PostgreSQL takes as long for each key as for a row."""
    read = pl.DataFrame(read_arrays(stream, ENGINE_CELL, ("usage_key_id", *ACTIVITY_COUNTS)))
    return sum_exactly([read], ACTIVITY_KEYS, ACTIVITY_COUNTS)


async def read_mark_sums(connection: Connection, *, batch_seq: int) -> pl.DataFrame:
    """What is stored of requests that lack something, by usage window, starts in microseconds."""
    stream = await copy_out(connection, CHECK["read_mark_sums"], batch_seq=batch_seq)
    return _whole_sums(stream, USAGE_CELL, MARK_COUNTS)


async def read_busy_seconds(connection: Connection, *, batch_seq: int) -> BusySeconds:
    """The busy seconds stored."""
    stream = await copy_out(connection, CHECK["read_busy_seconds"], batch_seq=batch_seq)
    columns = read_columns(stream, MASK_LAYOUT)
    return BusySeconds(columns["engine_key_id"], columns["window_start"], columns["mask"])


async def find_misplaced(
    connection: Connection, *, batch_seq: int, most: int
) -> list[MisplacedUsage]:
    """Usage windows with rows under another customer than their key's, the first `most`."""
    return await CHECK["find_misplaced"].values(
        connection, MisplacedUsage, batch_seq=batch_seq, most=most
    )


async def find_usage_names(
    connection: Connection, usage_key_ids: Sequence[int]
) -> dict[int, UsageNames]:
    """What keys stand for, by key."""
    names = await CHECK["find_usage_names"].values(
        connection, UsageNames, usage_key_ids=list(usage_key_ids)
    )
    return {each.usage_key_id: each for each in names}


async def find_engine_names(
    connection: Connection, engine_key_ids: Sequence[int]
) -> dict[int, EngineKeyRow]:
    """Where keys ran, by key."""
    names = await CHECK["find_engine_names"].values(
        connection, EngineKeyRow, engine_key_ids=list(engine_key_ids)
    )
    return {each.engine_key_id: each for each in names}


def _whole_sums(stream: bytes, cell: Mapping[str, str], counts: Sequence[str]) -> pl.DataFrame:
    """Sums of 128 bits from halves: the low one may be below zero, as its sum is."""
    halves = {f"{name}_{half}": INT8 for name in counts for half in ("high", "low")}
    read = pl.DataFrame(read_columns(stream, {**cell, **halves}))
    whole = [
        (pl.col(f"{name}_high").cast(WIDE) * 2**32 + pl.col(f"{name}_low")).alias(name)
        for name in counts
    ]
    return read.select(*cell, *whole)
