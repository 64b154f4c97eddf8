"""Attempts of every shape add up in a check as they do in ingest: on edges, unordered, unknown."""

import random
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from ledger.domain.metering import rows
from ledger.domain.metering.spread import METERS, WINDOW_US
from ledger.flows.metering.check import CheckSizes, check_windows
from ledger.store.binary import Rows
from ledger.store.connect import draw_batch_seq
from ledger.store.copying import copy_binary
from ledger.store.metering.facts import PartSizes
from ledger.store.metering.ingest import encode_activity, encode_masks, ensure_partitions
from ledger.store.queries import Connection

DAY = date(2026, 8, 6)
NOON_US = int(datetime(2026, 8, 6, 12, tzinfo=UTC).timestamp()) * 1_000_000
# Edges of windows and seconds, and their neighbours to the microsecond.
STEPS = (0, 1, 999_999, 1_000_000, WINDOW_US - 1, WINDOW_US, WINDOW_US + 1, 3 * WINDOW_US)
TIMES = ("time", "started_at", "first_token_at", "ended_at")
FIXED = {"lane": pl.Int16, "source_id": pl.Int32, "queue_ms": pl.Int64}
UNKNOWN = ("event_id", "agent_run_id", "end_user", "customer_id")


def some_attempt(chance: random.Random, ordinal: int) -> dict[str, Any]:
    """Times in any order, any of them unknown but the one that bills."""
    times = {name: NOON_US + chance.choice(STEPS) - chance.choice(STEPS) for name in TIMES}
    known = {
        name: moment if name == "time" or chance.random() < 0.8 else None
        for name, moment in times.items()
    }
    keys = {"usage_key_id": chance.choice([-9, 3]), "engine_key_id": chance.choice([-5, 0, 7])}
    counts = {name: chance.choice([0, 1, 7, 10**12]) for name in ("requests", *METERS)}
    said = {"kind": chance.choice([1, 3]), "flags": chance.choice([0, 1, 1024, 2, 6, 8, 24, 30])}
    return {"ordinal": ordinal, **said, **keys, **known, **counts, "sign": 1}


def as_facts(attempts: list[dict[str, Any]]) -> pl.DataFrame:
    kinds: dict[str, type[pl.DataType]] = {"ordinal": pl.Int32, "kind": pl.Int8, "flags": pl.Int32}
    schema = {name: kinds.get(name, pl.Int64) for name in attempts[0]}
    return pl.DataFrame(attempts, schema=schema).with_columns(
        *(pl.lit(1, dtype).alias(name) for name, dtype in FIXED.items()),
        *(pl.lit(None, pl.String).alias(name) for name in UNKNOWN),
    )


async def store(connection: Connection, facts: pl.DataFrame) -> None:
    """Facts and their windows, as ingest writes them."""
    tables = {
        "usage_fact": Rows.of(rows.fact_frame(facts, stored_day=DAY), rows.FACT_COLUMNS),
        "usage_delta": Rows.of(rows.usage_delta_frame(facts), rows.USAGE_DELTA_COLUMNS),
        "activity": encode_activity(rows.activity_delta_frame(facts)),
        "activity_mask": encode_masks(rows.activity_mask_frame(facts)),
    }
    if (marks := rows.usage_mark_frame(facts)) is not None:
        tables["usage_mark"] = Rows.of(marks, rows.USAGE_MARK_COLUMNS)
    async with connection.transaction():
        batch_seq = await draw_batch_seq(connection)
        for name, table in tables.items():
            table.number(batch_seq)
            await copy_binary(connection, name, table)


async def take_keys(connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO usage_key (usage_key_id, customer_ref, tier, model)
           VALUES (-9, 'acme', 'standard', 'llama'), (3, 'globex', 'standard', 'llama')"""
    )


@pytest.mark.parametrize("seed", range(6))
async def test_attempts_of_every_shape_are_equal(worker: Connection, seed: int) -> None:
    chance = random.Random(seed)
    await ensure_partitions(worker, DAY, days=1)
    await take_keys(worker)
    for _ in range(3):
        facts = as_facts([some_attempt(chance, n) for n in range(80)])
        taken_back = rows.reverse(facts.sample(10, seed=seed), first_ordinal=80)
        await store(worker, pl.concat([facts, taken_back.select(facts.columns)]))
    found = await check_windows([worker])
    assert (found.facts, found.differences) == (270, [])
    assert min(found.windows.values()) > 10


async def test_slices_and_merging_on_the_way_change_nothing(
    worker: Connection,
) -> None:
    chance = random.Random(7)
    await ensure_partitions(worker, DAY, days=1)
    await take_keys(worker)
    await store(worker, as_facts([some_attempt(chance, n) for n in range(3_000)]))
    pages = await worker.fetchval("SELECT pg_relation_size('usage_fact_20260806') / 8192")
    assert pages > 10
    seen: list[int] = []
    sizes = CheckSizes(PartSizes(pages=3), merge_rows=10)
    found = await check_windows([worker], progress=seen.append, sizes=sizes)
    assert (found.facts, found.differences) == (3_000, [])
    assert (len(seen), sum(seen)) == (-(-pages // 3), 3_000)
