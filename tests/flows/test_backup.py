"""The drill: books are copied while they are used, come back elsewhere, and are the same."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.domain.errors import ConflictError, LedgerError, NotFoundError, UnavailableError
from ledger.flows.backup import back_up
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.check_seals import check_seals
from ledger.flows.metering.archive import archive
from ledger.flows.metering.check import check_windows
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.restore import RestoreReport, restore
from ledger.flows.settle import settle
from ledger.store.backup import count_tables
from ledger.store.backup_files import MANIFEST, Manifest
from ledger.store.connect import connect
from ledger.store.metering.archive_location import location_of
from ledger.store.metering.retention import list_archived
from ledger.store.pg_programs import _apart, running_program
from ledger.store.queries import Connection
from tests.flows.billing import document_of
from tests.flows.test_archive import BEFORE, TODAY
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card
from tests.support.database import Database
from tests.support.objects import Bucket
from tests.support.usage import AUTHOR, NOW, Gate, attempt, keyed, open_books

DOCUMENTS = """
SELECT i.number, d.media_type, d.sha256, d.content, i.snapshot::text
  FROM invoice i JOIN invoice_document d USING (invoice_id) ORDER BY 1, 2"""


def quiet(done: int, /) -> None:
    """Tell nobody."""


@pytest.fixture
async def books(worker: Connection, tmp_path: Path) -> Gate:
    """Usage that was billed, its facts in an archive, and usage since."""
    await open_books(worker)
    gate = Gate(worker)
    await on_a_card(worker, "acme")
    await prepare_storage(worker, now=NOW + timedelta(days=8))
    await gate.send(keyed(*(attempt(f"e{n}", minute=n) for n in range(20))))
    await settle(worker, now=SEPTEMBER)
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    await document_of(worker, issued.invoice_id)
    await archive(worker, before=BEFORE, today=TODAY, folder=tmp_path / "archive")
    await gate.send(keyed(attempt("late", minute=50)), now=NOW + timedelta(days=9))
    return gate


async def backed_up(database: Database, folder: Path) -> Manifest:
    owner = await connect(database.owner_url)
    try:
        return await back_up(
            owner, url=database.owner_url, folder=folder, settings={}, now=NOW, progress=quiet
        )
    finally:
        await owner.close()


async def restored(database: Database, folder: Path, archive: Path | None = None) -> RestoreReport:
    owner = await connect(database.owner_url)
    try:
        return await restore(
            owner, url=database.owner_url, folder=folder, archive=archive, progress=quiet
        )
    finally:
        await owner.close()


async def rows_of(url: str) -> dict[str, int]:
    connection = await connect(url)
    try:
        return await count_tables(connection)
    finally:
        await connection.close()


async def test_books_come_back_elsewhere_and_are_the_same(
    books: Gate, database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    made = await backed_up(database, tmp_path / "backup")
    done = await restored(elsewhere, tmp_path / "backup", tmp_path / "other")
    assert done.manifest == made
    assert await rows_of(elsewhere.owner_url) == {**made.rows, "archive_move": 1}
    again = await connect(elsewhere.worker_url)
    try:
        documents = [tuple(row) for row in await again.fetch(DOCUMENTS)]
        assert documents == [tuple(row) for row in await books.connection.fetch(DOCUMENTS)]
        assert len(documents) == 1
        (day,) = await list_archived(again)
        assert Path(str(day.path)).is_relative_to(tmp_path / "other")
        found = await check_windows([again])
        assert (found.facts, found.differing) == (21, 0)
        sealed = await check_seals([again])
        assert (sealed.seals, sealed.differences) == (1, [])
        # They go on as books do: what was counted is a duplicate, what is new is counted.
        gate = Gate(again)
        late = NOW + timedelta(days=9)
        old, new = keyed(attempt("e3", minute=3)), keyed(attempt("new"))
        assert [one.outcome for r in await gate.send(old, new, now=late) for one in r.items()] == [
            "duplicate",
            "created",
        ]
        await settle(again, now=SEPTEMBER)
    finally:
        await again.close()


async def test_a_backup_of_restored_books_has_their_archive(
    books: Gate, database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    await backed_up(database, tmp_path / "backup")
    await restored(elsewhere, tmp_path / "backup", tmp_path / "other")
    made = await backed_up(elsewhere, tmp_path / "second")
    assert [name for name in made.files if name.endswith(".parquet")]
    assert books.connection is not None


async def test_what_is_stored_while_a_backup_runs_is_all_in_it_or_not_at_all(
    books: Gate, database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    late = NOW + timedelta(days=9)

    async def send() -> None:
        for n in range(20):
            await books.send(keyed(attempt(f"while-{n}", minute=n % 60)), now=late)

    await asyncio.gather(backed_up(database, tmp_path / "backup"), send())
    await restored(elsewhere, tmp_path / "backup", tmp_path / "other")
    again = await connect(elsewhere.worker_url)
    try:
        assert (await check_windows([again])).differing == 0
    finally:
        await again.close()


async def test_only_the_owner_of_a_backup_can_read_it(
    books: Gate, database: Database, tmp_path: Path
) -> None:
    await backed_up(database, tmp_path / "backup")
    assert books.connection is not None
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in tmp_path.glob("backup/**/*")}
    assert modes == {0}
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700


async def test_a_database_that_holds_anything_is_not_restored_into(
    books: Gate, database: Database, tmp_path: Path
) -> None:
    await backed_up(database, tmp_path / "backup")
    before = await rows_of(database.owner_url)
    with pytest.raises(ConflictError, match="not empty"):
        await restored(database, tmp_path / "backup", tmp_path / "other")
    assert await rows_of(database.owner_url) == before
    assert books.connection is not None


async def test_a_backup_goes_into_a_folder_of_its_own(
    books: Gate, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    with pytest.raises(ConflictError, match="is not empty"):
        await backed_up(database, tmp_path / "full")
    assert (tmp_path / "full" / "mine").read_text() == "kept"
    assert books.connection is not None


async def test_a_backup_holds_what_lies_in_an_object_store(
    worker: Connection, database: Database, elsewhere: Database, tmp_path: Path, bucket: Bucket
) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await prepare_storage(worker, now=NOW + timedelta(days=8))
    await gate.send(keyed(*(attempt(f"e{n}", minute=n) for n in range(20))))
    await archive(worker, before=BEFORE, today=TODAY, folder=location_of(bucket.url))
    await backed_up(database, tmp_path / "backup")
    await restored(elsewhere, tmp_path / "backup", tmp_path / "other")
    again = await connect(elsewhere.worker_url)
    try:
        (day,) = await list_archived(again)
        assert day.path == tmp_path / "other/usage_fact/stored_day=2026-08-06/part.parquet"
        found = await check_windows([again])
        assert (found.facts, found.differing) == (20, 0)
    finally:
        await again.close()


async def test_a_backup_without_a_file_of_its_archive_is_refused(
    books: Gate, database: Database, tmp_path: Path
) -> None:
    (day,) = await list_archived(books.connection)
    Path(str(day.path)).unlink()
    with pytest.raises(UnavailableError, match=r"archived facts of 2026-08-06 are not at"):
        await backed_up(database, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_an_interrupted_backup_is_no_backup(
    books: Gate, database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    def interrupt(done: int, /) -> None:
        if done:
            raise KeyboardInterrupt

    owner = await connect(database.owner_url)
    with pytest.raises(KeyboardInterrupt):
        await back_up(
            owner,
            url=database.owner_url,
            folder=tmp_path / "backup",
            settings={},
            now=NOW,
            progress=interrupt,
        )
    await owner.close()
    assert list(tmp_path.glob("backup*")) == []
    # What a power cut leaves has no manifest.
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "books.dump").write_bytes(b"PGDMP")
    with pytest.raises(NotFoundError, match="not a whole backup"):
        await restored(elsewhere, tmp_path / "backup")
    assert books.connection is not None


@pytest.mark.parametrize("name", ["books.dump", "part.parquet", "settings.json"])
async def test_a_flipped_bit_or_a_missing_file_of_a_backup_is_named(
    books: Gate, database: Database, elsewhere: Database, tmp_path: Path, name: str
) -> None:
    await backed_up(database, tmp_path / "backup")
    (path,) = (tmp_path / "backup").rglob(name)
    whole = path.read_bytes()
    path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    with pytest.raises(ConflictError, match=f"{name} is not what was backed up"):
        await restored(elsewhere, tmp_path / "backup", tmp_path / "other")
    path.unlink()
    with pytest.raises(ConflictError, match=f"{name} of the backup is missing"):
        await restored(elsewhere, tmp_path / "backup", tmp_path / "other")
    assert await rows_of(elsewhere.owner_url) == {}
    assert books.connection is not None


async def test_a_restore_that_is_killed_half_way_leaves_an_empty_database(
    books: Gate, database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    made = await backed_up(database, tmp_path / "backup")
    total = 0

    def interrupt(done: int, /) -> None:
        nonlocal total
        total += done
        if total > made.size + 20_000:
            raise KeyboardInterrupt

    owner = await connect(elsewhere.owner_url)
    with pytest.raises(KeyboardInterrupt):
        await restore(
            owner,
            url=elsewhere.owner_url,
            folder=tmp_path / "backup",
            archive=tmp_path / "other",
            progress=interrupt,
        )
    await owner.close()
    assert await rows_of(elsewhere.owner_url) == {}
    done = await restored(elsewhere, tmp_path / "backup", tmp_path / "other")
    assert await rows_of(elsewhere.owner_url) == {**done.manifest.rows, "archive_move": 1}
    assert books.connection is not None


async def test_an_archive_that_is_away_after_a_restore_is_named(
    books: Gate, database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    await backed_up(database, tmp_path / "backup")
    done = await restored(elsewhere, tmp_path / "backup", tmp_path / "other")
    for target in done.archives.values():
        target.rename(tmp_path / "lost")
    again = await connect(elsewhere.worker_url)
    try:
        with pytest.raises(UnavailableError, match=r"2026-08-06 are not at .*other"):
            await check_windows([again])
    finally:
        await again.close()
    assert books.connection is not None


async def test_a_program_that_fails_is_one_line_without_a_password() -> None:
    url = "postgresql://nobody:s3cret@/nowhere?host=/nonexistent"
    with pytest.raises(LedgerError) as failed:
        async with running_program("pg_dump", url, "--format=custom"):
            pass
    assert "pg_dump failed: " in str(failed.value)
    assert "\n" not in str(failed.value)
    assert "s3cret" not in str(failed.value)
    address, secret = _apart(url + "&password=other&sslmode=require")
    assert "s3cret" not in address
    assert "other" not in address
    assert "sslmode=require" in address
    assert secret == {"PGPASSWORD": "s3cret"}


def test_a_killed_backup_command_leaves_no_folder_of_its_name(
    books: Gate, database: Database, tmp_path: Path
) -> None:
    assert books.connection is not None
    command = (sys.executable, "-m", "ledger.cli", "backup", "--to", str(tmp_path / "backup"))
    env = {**os.environ, "TOKENLEDGER_OWNER_URL": database.owner_url}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    unfinished = tmp_path / "backup.unfinished"
    while not unfinished.exists() and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "backup").exists()
    done = subprocess.run((*command, "--json"), env=env, check=True, stdout=subprocess.PIPE)
    assert json.loads(done.stdout)["rows"]["invoice"] == 1
    assert (tmp_path / "backup" / MANIFEST).is_file()
    assert not unfinished.exists()
