"""Days in an object store are read, mended, traced and checked as those in a folder are."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from ledger.domain.errors import ConflictError, InvalidInputError, UnavailableError
from ledger.flows.metering.archive import archive
from ledger.flows.metering.check import check_windows
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.archive_location import ObjectPath, location_of
from ledger.store.metering.retention import list_archived
from ledger.store.queries import Connection
from tests.flows.test_archive import BEFORE, DAY, LATER, TODAY, facts, fill
from tests.support.objects import Bucket
from tests.support.usage import correction, keyed, windows

KEY = "books/usage_fact/stored_day=2026-08-06/part.parquet"


async def moved(connection: Connection, bucket: Bucket) -> pl.DataFrame:
    """Archive DAY and read it back."""
    done = await archive(connection, before=BEFORE, today=TODAY, folder=location_of(bucket.url))
    assert [one.day.stored_day for one in done.archived] == [DAY]
    (listed,) = await list_archived(connection)
    assert listed == done.archived[0]
    assert str(listed.path) == f"s3://{bucket.name}/{KEY}"
    return scan_archived(listed).collect()


async def test_an_object_holds_every_column_of_every_fact_exactly(
    worker: Connection, bucket: Bucket, tmp_path: Path
) -> None:
    await fill(worker)
    before, sums = await facts(worker), await windows(worker)
    assert (await moved(worker, bucket)).to_dicts() == before
    assert (await facts(worker), await windows(worker)) == ([], sums)
    assert (await check_windows([worker])).differing == 0
    said = json.loads(bucket.read(KEY.replace("part.parquet", "manifest.json")))
    (listed,) = await list_archived(worker)
    assert (said["rows"], said["sha256"]) == (24, listed.sha256.hex())
    (tmp_path / "part.parquet").write_bytes(bucket.read(KEY))
    assert pl.read_parquet(tmp_path / "part.parquet").to_dicts() == before


async def test_a_correction_finds_its_event_in_the_store_and_waits_where_it_is_gone(
    worker: Connection, bucket: Bucket
) -> None:
    gate = await fill(worker)
    untouched = await windows(worker)
    await moved(worker, bucket)
    octets = bucket.read(KEY)
    bucket.delete(KEY)
    gone = keyed(correction("gone", of="e4", revision=1, tokens=5, minute=4))
    assert await gate.outcomes(gone) == ["rejected"]
    bucket.write(KEY, octets)
    await gate.send(keyed(correction("fix", of="e3", revision=1, tokens=1_003)), now=LATER)
    added = sum(row[6] for row in await windows(worker)) - sum(row[6] for row in untouched)
    assert added == 1_000


async def test_an_object_that_was_changed_is_named_and_never_read(
    worker: Connection, bucket: Bucket
) -> None:
    await fill(worker)
    await moved(worker, bucket)
    (listed,) = await list_archived(worker)
    octets = bytearray(bucket.read(KEY))
    octets[len(octets) // 2] ^= 1
    bucket.write(KEY, bytes(octets))
    with pytest.raises(ConflictError, match=r"s3://\S+ is not the file that was archived"):
        scan_archived(listed)


async def test_a_store_that_is_away_leaves_the_day_where_it_is(
    worker: Connection, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(worker)
    before = await facts(worker)
    with pytest.raises(UnavailableError, match=r"s3://no-such-bucket/\S+ cannot be reached: "):
        await archive(
            worker, before=BEFORE, today=TODAY, folder=location_of("s3://no-such-bucket/books")
        )
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UnavailableError, match=r"cannot be reached: "):
        await archive(worker, before=BEFORE, today=TODAY, folder=location_of("s3://away/books"))
    assert (await facts(worker), await list_archived(worker)) == (before, [])


async def test_a_run_that_ended_before_its_day_was_dropped_is_run_again(
    worker: Connection, bucket: Bucket
) -> None:
    await fill(worker)
    before = await facts(worker)
    bucket.write(KEY, b"of an attempt that was not recorded")
    assert (await moved(worker, bucket)).to_dicts() == before


def test_a_place_is_a_folder_or_an_object_store() -> None:
    assert location_of("file:///srv/a%20b") == location_of("/srv/a b") == Path("/srv/a b")
    assert location_of("a/b") == Path("a/b").absolute()
    at = location_of("gs://bucket/a/")
    assert isinstance(at, ObjectPath)
    assert (str(at / "b"), (at / "b").parent, at.name) == ("gs://bucket/a/b", at, "a")
    for said in ("ftp://host/a", "s3:///a", "s3://bucket?x=1", "file://host/a", "://a"):
        with pytest.raises(InvalidInputError, match="no folder, and no object store"):
            location_of(said)


def test_who_archives_to_no_object_store_loads_none() -> None:
    program = (
        "import sys, ledger.flows.metering.archive, ledger.stream.consumer;"
        "sys.exit('obstore' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
