"""Archived days as Iceberg tables, read by pyiceberg with files of its own."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pyiceberg.table import StaticTable

from ledger.flows.metering.archive import archive
from ledger.store.metering.archive_location import Location, ObjectPath, location_of
from ledger.store.metering.iceberg import describe_table
from ledger.store.metering.retention import FACT_TABLE, ArchivedDay, list_archived
from ledger.store.queries import Connection
from tests.flows.test_archive import BEFORE, DAY, LATER, TODAY, facts, fill
from tests.support.objects import Bucket
from tests.support.usage import attempt, keyed

LAST = LATER - timedelta(days=1)


async def described(connection: Connection, folder: Location, before: date = BEFORE) -> Location:
    done = await archive(connection, before=before, today=TODAY, folder=folder, iceberg=True)
    return done.described[FACT_TABLE]


def table_at(metadata: Location, **properties: str) -> StaticTable:
    return StaticTable.from_metadata(str(metadata), properties)


def rows_of(table: StaticTable) -> list[dict[str, Any]]:
    found = pl.from_arrow(table.scan().to_arrow())
    assert isinstance(found, pl.DataFrame)
    return found.sort("batch_seq", "ordinal").to_dicts()


async def test_a_table_holds_every_column_of_every_archived_fact(
    worker: Connection, tmp_path: Path
) -> None:
    await fill(worker)
    before = await facts(worker)
    table = table_at(await described(worker, tmp_path))
    assert rows_of(table) == sorted(before, key=lambda fact: (fact["batch_seq"], fact["ordinal"]))


async def test_a_day_more_joins_the_table_and_a_question_of_one_day_reads_one_file(
    worker: Connection, tmp_path: Path
) -> None:
    gate = await fill(worker)
    first = await described(worker, tmp_path)
    assert await described(worker, tmp_path) == first
    await gate.send(keyed(attempt("later", minute=5)), now=LAST)
    table = table_at(await described(worker, tmp_path, before=TODAY))
    assert len(rows_of(table)) == len(rows_of(table_at(first))) + 1
    of_day = table.scan(row_filter=f"stored_day == '{DAY}'").plan_files()
    first_day, *_ = await list_archived(worker)
    assert [task.file.file_path for task in of_day] == [f"file://{first_day.path}"]
    # Days without facts have a file, which is in no table.
    assert len(list(table.scan().plan_files())) == 2


async def test_a_day_that_was_archived_anew_begins_a_table_without_the_old_one(
    worker: Connection, tmp_path: Path
) -> None:
    await fill(worker)
    await described(worker, tmp_path)
    (day,) = await list_archived(worker)
    assert isinstance(day.path, Path)
    frame = pl.read_parquet(day.path, hive_partitioning=False)
    frame.head(5).write_parquet(day.path)
    again = ArchivedDay(day.day, day.path, bytes(32))
    table = table_at(describe_table(tmp_path, FACT_TABLE, [again]))
    assert len(rows_of(table)) == 5
    assert len(table.snapshots()) == 1


@pytest.mark.parametrize("lost", ["version-hint.text", "*.metadata.json"])
async def test_metadata_that_is_gone_is_made_again(
    worker: Connection, tmp_path: Path, lost: str
) -> None:
    await fill(worker)
    before = rows_of(table_at(await described(worker, tmp_path)))
    for path in (tmp_path / FACT_TABLE / "metadata").glob(lost):
        path.unlink()
    assert rows_of(table_at(await described(worker, tmp_path))) == before


async def test_a_table_lies_in_an_object_store_as_in_a_folder(
    worker: Connection, bucket: Bucket
) -> None:
    await fill(worker)
    before = await facts(worker)
    metadata = await described(worker, location_of(bucket.url))
    assert isinstance(metadata, ObjectPath)
    assert await described(worker, location_of(bucket.url)) == metadata
    table = table_at(metadata, **{"s3.endpoint": bucket.address, "s3.region": "us-east-1"})
    assert len(rows_of(table)) == len(before)
