"""`tokenledger check` over facts with all their windows, embedded PostgreSQL with fsync on."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from benchmarks.harness import Figure, median, say
from benchmarks.scale import scaled
from benchmarks.server import Bench, bench_server
from ledger import clock
from ledger.commands.review.check import READERS
from ledger.domain.metering import rows
from ledger.domain.metering.key import UsageKeyRow
from ledger.domain.metering.spread import METERS
from ledger.flows.metering.check import check_windows
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.merge import MergeSizes, merge_sealed
from ledger.flows.seal import seal
from ledger.store.connect import connect, draw_batch_seq, sum_windows
from ledger.store.metering.chunks import EncodedChunk, insert_chunk
from ledger.store.metering.ingest import insert_usage_keys
from ledger.store.queries import Connection
from ledger.store.sums import EncodedSums, insert_sums

RUNS = 5
FACTS = scaled(10_000_000)
BATCH_FACTS = 20_000
# What a worker stores in half a second, after which it sums.
BATCHES_SUMMED = 10
REACH = 4_000_000
MERGE_REACH = 200_000
START_US = int(datetime(2026, 8, 6, tzinfo=UTC).timestamp()) * 1_000_000
EVERY_US = 40_000
CUSTOMERS, MODELS, TIERS, INSTANCES = 40, 3, 2, 4


@dataclass(frozen=True, slots=True)
class Measured:
    """Facts checked in a second, as they came and once merged, and merged in a second of a core."""

    as_they_came: list[float]
    merged: list[float]
    merging: float


def run() -> list[Figure]:
    """Facts checked in a second, from the cut-off to the last comparison, as large batches bring
    them and once they are merged; and facts merged in a second of one core."""
    with bench_server([]) as bench, bench.fresh() as database:
        measured = asyncio.run(_measure(bench, database.worker_url))
    return [
        _figure("check", measured.as_they_came),
        _figure("check of merged facts", measured.merged),
        Figure(
            name="merge of large batches, by one core",
            median=measured.merging,
            unit="facts/s",
            runs=1,
            reach=f"≥ {MERGE_REACH:,} facts/s",
            met=measured.merging >= MERGE_REACH,
            details={"facts": FACTS},
        ),
    ]


def _figure(name: str, rates: Sequence[float]) -> Figure:
    rate = median(rates)
    return Figure(
        name=name,
        median=rate,
        unit="facts/s",
        runs=RUNS,
        reach=f"≥ {REACH:,} facts/s",
        met=rate >= REACH,
        details={"facts": FACTS, "runs": [f"{one:,.0f}" for one in rates]},
    )


async def _measure(bench: Bench, url: str) -> Measured:
    connections = [await connect(url) for _ in range(READERS)]
    try:
        await load(connections[0], FACTS)
        as_they_came = [await _check(connections) for _ in range(RUNS)]
        await seal(connections[0])
        merging = await _merge(bench, connections[0])
        return Measured(as_they_came, [await _check(connections) for _ in range(RUNS)], merging)
    finally:
        for connection in connections:
            await connection.close()


async def _merge(bench: Bench, connection: Connection) -> float:
    """Facts merged in a second of processor, of this process and of the server."""
    began = time.process_time() + bench.cpu_seconds()
    sizes = MergeSizes(open_day=1)
    done = await merge_sealed(connection, today=clock.now().date(), sizes=sizes)
    spent = time.process_time() + bench.cpu_seconds() - began
    assert done.facts == FACTS, done.kept
    say(f"{FACTS:,} facts merged by {spent:.1f} s of processor")
    return FACTS / spent


async def _check(connections: Sequence[Connection]) -> float:
    began = time.perf_counter()
    found = await check_windows(connections)
    took = time.perf_counter() - began
    assert (found.facts, found.differing) == (FACTS, 0), found.differences
    say(f"{FACTS:,} facts checked in {took:.1f} s")
    return FACTS / took


async def load(connection: Connection, facts: int) -> None:
    """Facts as large batches, and their windows as a worker sums them, some batches at once."""
    now = clock.now()
    await prepare_storage(connection, now=now)
    await insert_usage_keys(connection, [_usage_key(n) for n in range(CUSTOMERS * MODELS * TIERS)])
    chance = np.random.default_rng(20260806)
    for number, first in enumerate(range(0, facts, BATCH_FACTS), 1):
        frame = _facts(chance, first, min(BATCH_FACTS, facts - first))
        async with connection.transaction():
            batch_seq = await draw_batch_seq(connection)
            await insert_chunk(connection, _chunk(frame, now), batch_seq=batch_seq)
            await insert_sums(connection, _sums(frame), batch_seq=batch_seq)
        if number % BATCHES_SUMMED == 0:
            await sum_windows(connection)
    await sum_windows(connection)


def _usage_key(number: int) -> UsageKeyRow:
    what, tier = divmod(number, TIERS)
    customer, model = divmod(what, MODELS)
    return UsageKeyRow(
        usage_key_id=number,
        entity_id=None,
        customer_id=f"customer-{customer}",
        customer_ref=f"customer-{customer}",
        project_id="",
        api_key_id="",
        agent_id="",
        tier=f"tier-{tier}",
        model=f"model-{model}",
        adapter="",
        region="",
        context_band=0,
    )


def _chunk(frame: pl.DataFrame, now: datetime) -> EncodedChunk:
    day = now.date()
    return EncodedChunk.of(rows.fact_frame(frame, stored_day=day), stored_day=day)


def _sums(frame: pl.DataFrame) -> EncodedSums:
    usage, activity = rows.moved_frames(frame)
    masks = rows.activity_mask_frame(frame)
    return EncodedSums.of({"usage": usage, "activity": activity, "masks": masks})


def _facts(chance: np.random.Generator, first: int, count: int) -> pl.DataFrame:
    """Attempts that end 40 ms apart, after one second to two minutes."""
    ended = START_US + (first + np.arange(count)) * EVERY_US
    took = chance.integers(1_000_000, 120_000_000, count)
    customer, model, tier, instance = (
        chance.integers(0, most, count) for most in (CUSTOMERS, MODELS, TIERS, INSTANCES)
    )
    values: dict[str, Any] = {
        "ordinal": np.arange(count, dtype=np.int32),
        "usage_key_id": (customer * MODELS + model) * TIERS + tier,
        "engine_key_id": (instance * MODELS + model) * TIERS + tier,
        "time": ended,
        "started_at": ended - took,
        "first_token_at": ended - took + took // 10,
        "ended_at": ended,
        "requests": np.ones(count, np.int64),
        **{name: chance.integers(0, 4_000, count) for name in METERS},
    }
    fixed = {"lane": pl.Int16, "kind": pl.Int16, "flags": pl.Int32, "source_id": pl.Int32}
    return pl.DataFrame(values).with_columns(
        *(pl.lit(1, dtype).alias(name) for name, dtype in fixed.items()),
        pl.format("customer-{}", pl.Series(customer)).alias("customer_id"),
        *(pl.lit(None, pl.String).alias(name) for name in ("event_id", "agent_run_id", "end_user")),
        queue_ms=pl.lit(None, pl.Int64),
        sign=pl.lit(1, pl.Int64),
    )
