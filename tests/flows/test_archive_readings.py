"""Readings of finished days move to files, and nothing that reads meters or counters misses one."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ledger.domain.metering.times import micros
from ledger.flows.check_seals import check_seals
from ledger.flows.cost.allocate import allocate
from ledger.flows.metering.archive import archive
from ledger.flows.metering.ingest import prepare_storage
from ledger.store.connect import connect, draw_batch_seq, draw_cut_off
from ledger.store.cost.margin import count_gpu_readings
from ledger.store.energy import meter
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.archive_location import location_of
from ledger.store.metering.retention import ArchivedDay, list_archived
from ledger.store.queries import Connection
from ledger.store.within import Within
from tests.support.books import Books
from tests.support.database import Database, execute
from tests.support.objects import Bucket
from tests.support.one_gpu import GPU, LATER, at, meters_of, one_gpu, steady

FIRST = date(2026, 8, 6)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
BEGINS = datetime(2026, 8, 6, tzinfo=UTC)
GPUS, METRICS, ENGINES = ("GPU-a", "GPU-b", "GPU-c"), ("prompt_tokens", "steps"), ("e-1", "e-2")
READ = ("gpu_reading", "counter_reading")
READING = """INSERT INTO gpu_reading VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'nvml_counter',
                                     $10, $11, $12, $13, $14)"""
COUNTER = """INSERT INTO counter_reading VALUES ($1, $2, $3, $4, 'vllm', $5, $6, $7, $8, $9,
                                     $10::text::jsonb, $11, $12)"""


async def fill(database: Database, connection: Connection, draw: random.Random) -> list[int]:
    """Readings and counters of three stored days, some that came late; the batches."""
    await prepare_storage(connection, now=BEGINS)
    sources = [await Books(connection).source(name) for name in ("one", "two")]
    batches = []
    for stored_day in DAYS:
        for _ in range(4):
            batches.append(await _store(connection, draw, stored_day, sources))
    await execute(database.superuser_url, "ANALYZE gpu_reading, counter_reading")
    return batches


async def _store(
    connection: Connection, draw: random.Random, stored_day: date, sources: Sequence[int]
) -> int:
    noon = datetime(stored_day.year, stored_day.month, stored_day.day, 12, tzinfo=UTC)
    async with connection.transaction():
        seq = await draw_batch_seq(connection)
        readings, counters = [], []
        for ordinal in range(draw.randrange(1, 12)):
            late = timedelta(days=draw.choice([0, 0, 0, 1, 3]))
            moment = noon + timedelta(seconds=draw.randrange(-43_200, 43_200)) - late
            place = (stored_day, seq, ordinal, draw.choice(sources))
            known = draw.random() < 0.5
            readings.append(
                (
                    *(*place, draw.choice(GPUS), draw.choice(["x", "y"]), moment),
                    *(draw.randrange(10**12), draw.choice([None, 5])),
                    *(draw.choice(["good", "poor"]), "boot" if known else None),
                    *("load" if known else None, draw.randrange(10**9) if known else None),
                    draw.choice(["gpu", "gpu", "module"]),
                )
            )
            labels = json.dumps({"model": draw.choice('a"ü')})
            for metric in METRICS:
                counters.append(
                    (
                        *(*place, draw.choice(ENGINES), draw.choice(["r1", "r2"])),
                        *(draw.choice([None, moment]), moment, metric, labels),
                        *(draw.randrange(10**20), draw.random() < 0.5),
                    )
                )
        await connection.executemany(READING, readings)
        await connection.executemany(COUNTER, counters)
    return seq


async def answers(connection: Connection, asked: Sequence[Within]) -> list[Any]:
    """Whatever reads readings, asked over periods and cut-offs."""
    found: list[Any] = []
    for within in asked:
        gpus = GPUS[:2]
        found.append(await meter.find_readings(connection, gpu_uuids=gpus, **within))
        columns = await meter.read_columns_of(connection, gpu_uuids=gpus, **within)
        rows = zip(*(getattr(columns, each.name).tolist() for each in fields(columns)), strict=True)
        found.append(sorted(rows))
        found.append(await meter.find_energy_readings(connection, gpu_uuids=GPUS, **within))
        found.append(await count_gpu_readings(connection, gpu_uuids=GPUS, **within))
        found.append(await meter.list_engine_instances(connection, **within))
        counted = await meter.list_counters(
            connection, engine_instances=ENGINES, metrics=METRICS, **within
        )
        found.append({name: sorted(map(repr, of)) for name, of in counted.items()})
        for engine in ENGINES:
            found.append(
                await meter.find_engine_counters(
                    connection, engine_instance=engine, metrics=METRICS, **within
                )
            )
        seq = within["batch_seq"]
        if seq >= 10**6:
            found.append(await meter.find_metered_periods(connection, batch_seq=seq))
    return found


def periods(draw: random.Random, batches: Sequence[int]) -> list[Within]:
    moments = [BEGINS + timedelta(minutes=draw.randrange(-6_000, 6_000)) for _ in range(40)]
    return [
        {
            "since": min(pair),
            "until": max(pair) + timedelta(minutes=1),
            "batch_seq": draw.choice([10**6, 10**6, *batches]),
        }
        for pair in zip(moments[::2], moments[1::2], strict=True)
    ]


async def moved(connection: Connection, folder: Path, days: int = 2) -> list[ArchivedDay]:
    done = await archive(
        connection, before=DAYS[days], today=DAYS[-1] + timedelta(days=9), folder=folder
    )
    assert done.kept == []
    return [each for each in done.archived if each.table in READ]


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_reads_readings_finds_what_was_found_before(
    database: Database, worker: Connection, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    batches = await fill(database, worker, draw)
    asked = periods(draw, batches)
    before = await answers(worker, asked)
    stored = {table: await worker.fetchval(f"SELECT count(*) FROM {table}") for table in READ}
    done = await moved(worker, tmp_path)
    assert [(each.table, each.day.stored_day) for each in done] == [
        (table, day) for table in READ for day in DAYS[:2]
    ]
    for table in READ:
        assert await worker.fetchval(f"SELECT count(*) FROM {table}") < stored[table]
    assert await answers(worker, asked) == before
    assert (await check_seals([worker])).differences == []


@pytest.mark.parametrize("seed", range(3))
async def test_columns_of_readings_say_what_readings_do(
    database: Database, worker: Connection, seed: int
) -> None:
    draw = random.Random(seed)
    batches = await fill(database, worker, draw)
    scopes = {
        (row["gpu_uuid"], row["energy_mj"]): row["scope"]
        for row in await worker.fetch("SELECT gpu_uuid, energy_mj, scope FROM gpu_reading")
    }
    for within in periods(draw, batches):
        columns = await meter.read_columns_of(worker, gpu_uuids=GPUS, **within)
        rows = zip(*(getattr(columns, each.name).tolist() for each in fields(columns)), strict=True)
        found = await meter.find_readings(worker, gpu_uuids=GPUS, **within)
        streams: dict[int, set[object]] = {}
        said = []
        for board, at_us, energy_mj, power_mw, monotonic_us, stream, good, module in rows:
            reading = next(each for each in found if each.energy_mj == energy_mj)
            life = reading.epoch, reading.source, reading.boot_id, reading.driver_load
            streams.setdefault(stream, set()).add(life)
            quality, scope = ("poor", "good")[good], ("gpu", "module")[module]
            said.append((GPUS[board - 1], at_us, energy_mj, power_mw, monotonic_us, quality, scope))
        assert sorted(said) == sorted(
            (
                *(each.gpu_uuid, micros(each.sampled_at), each.energy_mj),
                *(-1 if n is None else n for n in (each.power_mw, each.monotonic_us)),
                *(each.quality, scopes[each.gpu_uuid, each.energy_mj]),
            )
            for each in found
        )
        lives = {(e.epoch, e.source, e.boot_id, e.driver_load) for e in found}
        assert all(len(of_it) == 1 for of_it in streams.values())
        assert len(streams) == len(lives)


async def test_a_file_holds_every_column_of_every_reading(
    database: Database, worker: Connection, tmp_path: Path
) -> None:
    await fill(database, worker, random.Random(1))
    stored = {
        table: [
            dict(row)
            for row in await worker.fetch(
                f"SELECT * FROM {table} WHERE stored_day = $1 ORDER BY batch_seq, ordinal", FIRST
            )
        ]
        for table in READ
    }
    done = await moved(worker, tmp_path, days=1)
    assert [each.table for each in done] == list(READ)
    for each in done:
        path = tmp_path / each.table / "stored_day=2026-08-06" / "part.parquet"
        assert each.path == path
        manifest = json.loads(path.with_name("manifest.json").read_text())
        assert (manifest["table"], manifest["rows"]) == (each.table, each.day.rows)
        found = scan_archived(each).collect().to_dicts()
        if each.table == "counter_reading":
            said = [{"labels": json.loads(row["labels"])} for row in found]
            found = [
                row | labels | {"value": Decimal(row["value"])}
                for row, labels in zip(found, said, strict=True)
            ]
        assert sorted(found, key=_place) == sorted(stored[each.table], key=_place)


def _place(row: dict[str, Any]) -> tuple[int, int, str]:
    return row["batch_seq"], row["ordinal"], row.get("metric", "")


async def test_a_calibration_after_its_day_was_archived_makes_energy_true(
    worker: Connection, tmp_path: Path
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3_601, 10)))
    day = await worker.fetchval("SELECT min(stored_day) FROM gpu_reading")
    tomorrow = day + timedelta(days=1)
    late = await archive(worker, before=tomorrow, today=tomorrow, folder=tmp_path)
    assert {each.table for each in late.archived} == {"usage_fact", "gpu_reading"}
    assert await worker.fetchval("SELECT count(*) FROM gpu_reading") == 2
    await allocate(worker, now=LATER)
    before = await meters_of(worker)
    assert [window["metered_mj"] for window in before] == [900 * 400_000] * 4
    await books.energy_meter(GPU, at(900), at(1_800), gain="1.05", offset_mw=-2_000)
    await allocate(worker, now=LATER)
    first, second, third, *_ = await meters_of(worker)
    assert first["metered_mj"] == third["metered_mj"] == 900 * 400_000
    assert second["metered_mj"] == 900 * (420_000 - 2_000)


async def test_readings_that_no_cost_was_made_of_yet_stay(
    worker: Connection, tmp_path: Path
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 1_801, 10)))
    await allocate(worker, now=LATER)
    await books.readings(GPU, steady(range(1_810, 3_601, 10)))
    day = await worker.fetchval("SELECT min(stored_day) FROM gpu_reading")
    tomorrow = day + timedelta(days=1)
    done = await archive(worker, before=tomorrow, today=tomorrow, folder=tmp_path)
    assert [(each.table, each.reason) for each in done.kept] == [
        ("gpu_reading", "costs of its readings are not allocated yet")
    ]
    await allocate(worker, now=LATER)
    done = await archive(worker, before=tomorrow, today=tomorrow, folder=tmp_path)
    assert [each.table for each in done.archived] == ["gpu_reading"]


@pytest.mark.parametrize("delay_ms", [0, 20, 80, 200])
async def test_ended_anywhere_every_reading_is_found(
    database: Database, worker: Connection, tmp_path: Path, delay_ms: int
) -> None:
    draw = random.Random(3)
    batches = await fill(database, worker, draw)
    asked = periods(draw, batches)[:6]
    before = await answers(worker, asked)
    other, ender = await connect(database.worker_url), await connect(database.superuser_url)
    under_way = asyncio.create_task(moved(other, tmp_path))
    await asyncio.sleep(delay_ms / 1000)
    await ender.execute("SELECT pg_terminate_backend($1)", other.get_server_pid())
    await ender.close()
    await asyncio.gather(under_way, return_exceptions=True)
    other.terminate()
    assert await answers(worker, asked) == before
    await moved(worker, tmp_path)
    assert await answers(worker, asked) == before


async def test_check_names_a_file_that_changed_and_a_row_that_is_not_in_it(
    database: Database, worker: Connection, tmp_path: Path
) -> None:
    await fill(database, worker, random.Random(2))
    archived = (await moved(worker, tmp_path, days=1))[0]
    assert archived.table == "gpu_reading"
    assert isinstance(archived.path, Path)
    assert (await check_seals([worker])).differences == []
    octets = archived.path.read_bytes()
    pl.read_parquet(archived.path).reverse().write_parquet(archived.path)
    (changed,) = (await check_seals([worker])).differences
    assert (changed.table, changed.where) == ("gpu_reading", "file of 2026-08-06")
    assert "SHA-256 differs" in changed.stored
    archived.path.write_bytes(octets)
    await execute(
        database.superuser_url,
        "SET session_replication_role = replica;"
        "UPDATE gpu_reading SET energy_mj = energy_mj + 1 WHERE stored_day = '2026-08-06'",
    )
    kept = await worker.fetchval("SELECT count(*) FROM gpu_reading WHERE stored_day = $1", FIRST)
    (strange,) = (await check_seals([worker])).differences
    assert (strange.table, strange.name, strange.stored) == ("gpu_reading", "rows", str(kept))


async def test_a_day_that_is_not_what_was_sealed_stays(
    database: Database, worker: Connection, tmp_path: Path
) -> None:
    await fill(database, worker, random.Random(2))
    await moved(worker, tmp_path, days=0)
    await execute(
        database.superuser_url,
        "SET session_replication_role = replica; UPDATE counter_reading SET value = value + 1",
    )
    done = await archive(worker, before=DAYS[1], today=DAYS[2], folder=tmp_path)
    assert [(each.table, each.reason) for each in done.kept] == [
        ("counter_reading", "its readings are not those that were sealed: see `check`")
    ]


async def test_whoever_may_see_no_readings_sees_none_in_files(
    database: Database, worker: Connection, api: Connection, tmp_path: Path
) -> None:
    draw = random.Random(4)
    await fill(database, worker, draw)
    await moved(worker, tmp_path)
    within = Within(
        since=BEGINS - timedelta(days=9), until=BEGINS + timedelta(days=9), batch_seq=10**6
    )
    assert await meter.find_readings(worker, gpu_uuids=GPUS, **within)
    assert await meter.find_readings(api, gpu_uuids=GPUS, **within) == []
    assert await meter.list_engine_instances(api, **within) == []


async def test_what_is_stored_into_an_archived_day_is_found_and_sealed(
    database: Database, worker: Connection, tmp_path: Path
) -> None:
    draw = random.Random(5)
    await fill(database, worker, draw)
    await moved(worker, tmp_path)
    await _store(worker, draw, FIRST, [await Books(worker).source("one")])
    cut_off = await draw_cut_off(worker, "report")
    within = Within(
        since=BEGINS - timedelta(days=9),
        until=BEGINS + timedelta(days=9),
        batch_seq=cut_off.batch_seq,
    )
    assert await meter.find_readings(worker, gpu_uuids=GPUS, **within)
    again = await archive(worker, before=DAYS[1], today=DAYS[2], folder=tmp_path)
    assert again.archived == []
    assert (await check_seals([worker])).differences == []


async def test_readings_in_an_object_store_are_found(
    database: Database, worker: Connection, bucket: Bucket
) -> None:
    draw = random.Random(6)
    batches = await fill(database, worker, draw)
    asked = periods(draw, batches)[:4]
    before = await answers(worker, asked)
    done = await archive(
        worker,
        before=DAYS[2],
        today=DAYS[2],
        folder=location_of(bucket.url),
    )
    assert {each.table for each in done.archived} == {"usage_fact", *READ}
    assert await answers(worker, asked) == before
    assert {each.table for each in await list_archived(worker, table=READ[0])} == {READ[0]}
