"""Facts of finished days move to files, and nothing that reads facts misses one."""

import asyncio
import json
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import duckdb
import polars as pl
import pytest

from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.billing.traced import TracedEvent
from ledger.domain.errors import ConflictError, InvalidInputError, UnavailableError
from ledger.domain.metering.fact import Reason
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.metering.archive import archive, drop_day, write_archive
from ledger.flows.metering.find_facts import trace_line
from ledger.flows.metering.fold import fold
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.replay import replay_quarantine
from ledger.store.billing import invoice as store
from ledger.store.connect import connect
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.retention import close_day, close_days, list_archived, list_fact_days
from ledger.store.queries import Connection
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card
from tests.support.database import Database
from tests.support.disks import Disk, small_disk
from tests.support.usage import (
    AUTHOR,
    NOW,
    Gate,
    attempt,
    correction,
    fates,
    keyed,
    open_books,
    sequenced,
    windows,
)

DAY = NOW.date()
LATER = NOW + timedelta(days=10)
TODAY = LATER.date()
BEFORE = DAY + timedelta(days=1)
FACTS = "SELECT *, end_user::text AS end_user FROM usage_fact WHERE stored_day = $1 ORDER BY 3, 4"


async def fill(connection: Connection, chunk_facts: int = 4_096) -> Gate:
    """Facts of every shape, stored on DAY."""
    await open_books(connection)
    gate = Gate(connection, IngestLimits(end_user_secret=b"secret", chunk_facts=chunk_facts))
    times = {
        "started_at": "2026-08-06T11:00:00.000001Z",
        "first_token_at": "2026-08-06T11:00:01.5Z",
    }
    rich = attempt("e0", minute=1, end_user_id="someone", agent_run_id="rün-1")
    rich["data"] |= times | {"ended_at": "2026-08-06T11:01:30.999999Z"}
    await gate.send(keyed(rich, *(attempt(f"e{n}", minute=n, tokens=n) for n in range(1, 20))))
    await gate.send(sequenced([attempt(minute=40, tokens=100), attempt(minute=41)]))
    await gate.send(keyed(correction("c9", of="e9", revision=1, tokens=7, minute=9)))
    await prepare_storage(connection, now=LATER)
    return gate


async def facts(connection: Connection, day: date = DAY) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection.fetch(FACTS, day)]


@pytest.fixture
def small_folder(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "small") as disk:
        yield disk


async def test_a_full_disk_is_named_and_the_day_stays_until_there_is_room(
    worker: Connection, small_folder: Disk
) -> None:
    await fill(worker)
    before = await facts(worker)
    small_folder.fill()
    with pytest.raises(UnavailableError, match=r"small/usage_fact\S+ cannot be written: .*again\."):
        await archive(worker, before=BEFORE, today=TODAY, folder=small_folder.folder)
    assert (await facts(worker), await list_archived(worker)) == (before, [])
    small_folder.free()
    assert (await moved(worker, small_folder.folder)).to_dicts() == before


async def moved(connection: Connection, folder: Path) -> pl.DataFrame:
    """Archive DAY and read it back."""
    done = await archive(connection, before=BEFORE, today=TODAY, folder=folder)
    assert [one.day.stored_day for one in done.archived] == [DAY]
    (listed,) = await list_archived(connection)
    assert listed == done.archived[0]
    return scan_archived(listed).collect()


async def test_a_file_holds_every_column_of_every_fact_exactly(
    worker: Connection, tmp_path: Path
) -> None:
    await fill(worker)
    before = await facts(worker)
    sums = await windows(worker)
    found = await moved(worker, tmp_path)
    assert len(before) == 24
    assert found.to_dicts() == before
    assert len(found.columns) == 23
    assert not any(dtype.is_float() for dtype in found.dtypes)
    assert any(row["end_user"] for row in before)
    assert any(row["started_at"] and row["started_at"].microsecond == 1 for row in before)
    assert await facts(worker) == []
    assert await worker.fetchval("SELECT to_regclass('usage_fact_20260806')") is None
    assert await windows(worker) == sums


async def test_another_program_adds_up_the_files_as_the_page_shows(
    worker: Connection, tmp_path: Path
) -> None:
    gate = await fill(worker)
    searched = attempt("searched")
    searched["data"]["usage"]["other"] = {"web_search.requests": 3}
    await gate.send(keyed(searched))
    sums = await worker.fetch(
        "SELECT date_trunc('day', window_start AT TIME ZONE 'UTC'), sum(requests),"
        " sum(uncached + cache_read + cache_write), sum(visible + reasoning)"
        " FROM usage_delta GROUP BY 1 ORDER BY 1"
    )
    await archive(worker, before=BEFORE, today=TODAY, folder=tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "archive.md").read_text()
    whole, beside = re.findall(r"```sql\n(SELECT .*?)```", page, re.DOTALL)
    with duckdb.connect() as reader:
        rows = reader.execute(whole.replace("DIR", str(tmp_path))).fetchall()
        extras = reader.execute(beside.replace("DIR", str(tmp_path))).fetchall()
    assert sums
    assert rows == [tuple(row.values()) for row in sums]
    assert extras == [("searched", "web_search_calls", 3)]


async def test_the_manifest_beside_a_file_says_what_is_in_it(
    worker: Connection, tmp_path: Path
) -> None:
    await fill(worker)
    found = await moved(worker, tmp_path)
    folder = tmp_path / "usage_fact" / "stored_day=2026-08-06"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "part.parquet"]
    said = json.loads((folder / "manifest.json").read_text())
    (listed,) = await list_archived(worker)
    assert (said["rows"], said["sha256"]) == (found.height, listed.sha256.hex())
    assert said["first_batch_seq"] == found["batch_seq"].min()
    assert said["last_batch_seq"] == found["batch_seq"].max()
    assert (listed.day.first_time, listed.day.last_time) == (
        found["time"].min(),
        found["time"].max(),
    )
    assert list(said["columns"]) == found.columns


async def test_killed_between_file_and_transaction_a_second_run_ends_the_same(
    worker: Connection, tmp_path: Path
) -> None:
    await fill(worker)
    before = await facts(worker)
    first = await write_archive(worker, await close_day(worker, DAY), tmp_path)
    assert await facts(worker) == before
    assert await list_archived(worker) == []
    found = await moved(worker, tmp_path)
    assert found.to_dicts() == before
    (listed,) = await list_archived(worker)
    assert listed.sha256 == first.sha256
    again = await archive(worker, before=BEFORE, today=TODAY, folder=tmp_path)
    assert (again.archived, again.kept) == ([], [])


async def test_what_a_killed_writer_left_behind_is_swept_away(
    worker: Connection, tmp_path: Path
) -> None:
    await fill(worker)
    before = await facts(worker)
    folder = tmp_path / "usage_fact" / "stored_day=2026-08-06"
    (folder / "pages.tmp").mkdir(parents=True)
    (folder / "pages.tmp" / "000000.parquet").write_bytes(b"half")
    (folder / "part.parquet.tmp").write_bytes(b"half")
    (folder / "part.parquet").write_bytes(b"of an attempt that was not recorded")
    assert (await moved(worker, tmp_path)).to_dicts() == before
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "part.parquet"]


@pytest.mark.parametrize("delay_ms", [0, 10, 30, 60, 120, 250])
async def test_ended_anywhere_every_fact_is_in_one_place(
    database: Database, worker: Connection, tmp_path: Path, delay_ms: int
) -> None:
    await fill(worker)
    before = await facts(worker)
    other, ender = await connect(database.worker_url), await connect(database.superuser_url)
    under_way = asyncio.create_task(archive(other, before=BEFORE, today=TODAY, folder=tmp_path))
    await asyncio.sleep(delay_ms / 1000)
    await ender.execute("SELECT pg_terminate_backend($1)", other.get_server_pid())
    await ender.close()
    await asyncio.gather(under_way, return_exceptions=True)
    other.terminate()
    await archive(worker, before=BEFORE, today=TODAY, folder=tmp_path)
    (listed,) = await list_archived(worker)
    assert scan_archived(listed).collect().to_dicts() == before
    assert await facts(worker) == []


async def test_two_archives_at_once_move_a_day_once(
    database: Database, worker: Connection, tmp_path: Path
) -> None:
    await fill(worker)
    before = await facts(worker)
    others = [await connect(database.worker_url) for _ in range(2)]
    runs = [archive(each, before=BEFORE, today=TODAY, folder=tmp_path) for each in others]
    done = await asyncio.gather(*runs)
    assert sorted(len(one.archived) for one in done) == [0, 1]
    (listed,) = await list_archived(worker)
    assert scan_archived(listed).collect().to_dicts() == before
    for each in others:
        await each.close()


async def test_a_day_that_changed_under_the_file_is_not_dropped(
    worker: Connection, tmp_path: Path
) -> None:
    gate = await fill(worker)
    written = await write_archive(worker, await close_day(worker, DAY), tmp_path)
    await gate.send(keyed(attempt("late", minute=50)))
    before = await facts(worker)
    with pytest.raises(ConflictError, match="24"):
        await drop_day(worker, written)
    assert await facts(worker) == before
    assert await list_archived(worker) == []
    assert (await moved(worker, tmp_path)).height == 25


async def test_the_worker_cannot_record_or_drop_a_day_by_itself(worker: Connection) -> None:
    await fill(worker)
    for statement in ("DROP TABLE usage_fact_20260806", "DELETE FROM archived_partition"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.execute(statement)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await worker.execute("INSERT INTO archived_partition (table_name) VALUES ('usage_fact')")


async def test_a_duplicate_of_an_archived_event_is_a_duplicate(
    worker: Connection, tmp_path: Path
) -> None:
    gate = await fill(worker)
    await moved(worker, tmp_path)
    sums, before = await windows(worker), await fates(worker)
    again = [attempt(f"e{n}", minute=n, tokens=n) for n in range(1, 5)]
    batch = [attempt(minute=40, tokens=100), attempt(minute=41)]
    await gate.send(keyed(*again), sequenced(batch), now=LATER)
    assert await windows(worker) == sums
    assert (await fates(worker))["duplicate"] == before.get("duplicate", 0) + 6


@pytest.mark.parametrize("of", ["e3", "e9"])
async def test_a_correction_of_an_archived_event_reverses_what_stood(
    worker: Connection, tmp_path: Path, of: str
) -> None:
    gate = await fill(worker)
    untouched = await windows(worker)
    await moved(worker, tmp_path)
    minute = int(of[1:])
    change = correction("late-fix", of=of, revision=2, tokens=1_000, minute=minute)
    stood = 7 if of == "e9" else 3
    await gate.send(keyed(change), now=LATER)
    after = await windows(worker)
    assert sum(row[6] for row in after) - sum(row[6] for row in untouched) == 1_000 - stood
    assert sum(row[5] for row in after) == sum(row[5] for row in untouched)
    kinds = [row["kind"] for row in await facts(worker, TODAY)]
    assert sorted(kinds) == [2, 3]


async def test_a_correction_goes_aside_where_the_file_is_missing(
    worker: Connection, tmp_path: Path
) -> None:
    gate = await fill(worker)
    await moved(worker, tmp_path)
    before = await windows(worker)
    path = tmp_path / "usage_fact" / "stored_day=2026-08-06" / "part.parquet"
    path.rename(tmp_path / "elsewhere")
    change = correction("late-fix", of="e3", revision=1, tokens=1_000, minute=3)
    again = change | {"id": "later-fix"}
    (found,) = await gate.send(keyed(attempt("beside"), change, change, again), now=LATER)
    items = list(found.items())
    assert [item.outcome for item in items] == ["created", "rejected", "rejected", "rejected"]
    assert {item.reason for item in items[1:]} == {Reason.TARGET_AWAY}
    assert "2026-08-06" in items[1].detail
    (tmp_path / "elsewhere").rename(path)
    (item,) = await worker.fetch("SELECT min(quarantine_id) AS n FROM quarantine")
    replayed = await replay_quarantine(
        worker, [item["n"]], directory=gate.directory, now=LATER, limits=gate.limits
    )
    assert replayed[item["n"]].outcome == "created"
    assert await gate.outcomes(keyed(change), keyed(again)) == ["duplicate", "duplicate"]
    found_windows = await windows(worker)
    assert sum(row[6] for row in found_windows) - sum(row[6] for row in before) == 1_000 - 3 + 10


async def trace(
    connection: Connection, line: InvoiceLine, cut_off: int, limit: int
) -> Sequence[TracedEvent]:
    found: list[TracedEvent] = []
    after = (0, -1)
    while page := await trace_line(
        connection, line=line, customer_id="acme", batch_seq=cut_off, after=after, limit=limit
    ):
        found += page
        after = page[-1].stored_at
    return found


@pytest.mark.parametrize(("limit", "chunk_facts"), [(3, 4_096), (1_000, 4_096), (3, 2), (7, 1)])
async def test_an_invoice_line_leads_to_its_events_in_file_chunk_and_row(
    worker: Connection, tmp_path: Path, limit: int, chunk_facts: int
) -> None:
    gate = await fill(worker, chunk_facts)
    await on_a_card(worker, "acme")
    await gate.send(keyed(attempt("next-day", minute=44, tokens=5)), now=LATER)
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    await gate.send(keyed(correction("c1", of="e1", revision=1, tokens=1)), now=LATER)
    (invoice,) = await store.list_invoices(worker)
    cut_off = invoice.cut_off_seq
    lines = await store.list_lines(worker, invoice_id=issued.invoice_id)
    before = [await trace(worker, line, cut_off, limit) for line in lines]
    assert [len(events) for events in before] == [25, 25]
    await fold(worker)
    await moved(worker, tmp_path)
    assert [await trace(worker, line, cut_off, limit) for line in lines] == before


@pytest.mark.parametrize("chunk_facts", [4_096, 1])
async def test_a_key_that_used_nothing_of_a_line_is_behind_none_in_row_or_chunk(
    worker: Connection, chunk_facts: int
) -> None:
    await open_books(worker)
    gate = Gate(worker, IngestLimits(chunk_facts=chunk_facts))
    await on_a_card(worker, "acme")
    idle = attempt("idle", tokens=0, project_id="quiet")
    await gate.send(keyed(attempt("busy"), idle))
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    (invoice,) = await store.list_invoices(worker)
    for line in await store.list_lines(worker, invoice_id=issued.invoice_id):
        events = await trace(worker, line, invoice.cut_off_seq, 10)
        assert [event.event_id for event in events] == ["busy"]


async def test_a_file_is_read_only_while_it_is_the_one_that_was_archived(
    worker: Connection, tmp_path: Path
) -> None:
    gate = await fill(worker)
    await moved(worker, tmp_path)
    (listed,) = await list_archived(worker)
    path = Path(str(listed.path))
    whole = path.read_bytes()
    assert scan_archived(listed).collect().height == 24
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    for place in (4, len(whole) // 2, len(whole) - 9):
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(bytes(data))
        os.utime(path, ns=times)
        with pytest.raises(ConflictError, match=r"part\.parquet is not the file .* from a copy"):
            scan_archived(listed)
    mended = correction("c5", of="e5", revision=1, tokens=70, minute=5)
    assert await gate.outcomes(keyed(mended)) == ["rejected"]
    path.write_bytes(whole)
    assert scan_archived(listed).collect().height == 24


async def test_a_day_with_usage_in_suspense_stays(worker: Connection, tmp_path: Path) -> None:
    gate = await fill(worker)
    await gate.send(keyed(attempt("x", customer_id="nobody-knows")))
    done = await archive(worker, before=BEFORE, today=TODAY, folder=tmp_path)
    assert (done.archived, [one.stored_day for one in done.kept]) == ([], [DAY])
    assert len(await facts(worker)) == 25


async def test_a_day_that_comes_back_after_it_was_archived_stays(
    worker: Connection, tmp_path: Path
) -> None:
    gate = await fill(worker)
    first = await moved(worker, tmp_path)
    await prepare_storage(worker, now=NOW)
    await gate.send(keyed(attempt("late", minute=50)))
    done = await archive(worker, before=BEFORE, today=TODAY, folder=tmp_path)
    assert (done.archived, [one.stored_day for one in done.kept]) == ([], [DAY])
    (listed,) = await list_archived(worker)
    assert scan_archived(listed).collect().equals(first)
    assert len(await facts(worker)) == 1


async def test_a_folder_that_cannot_hold_files_is_refused_before_anything_is_done(
    worker: Connection, tmp_path: Path
) -> None:
    await fill(worker)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInputError, match="cannot be written"):
            await archive(worker, before=BEFORE, today=TODAY, folder=folder)
    assert len(await facts(worker)) == 24


async def test_a_day_that_is_being_read_goes_once_the_reader_is_done(
    database: Database, worker: Connection, tmp_path: Path
) -> None:
    await fill(worker)
    other = await connect(database.worker_url)
    transaction = other.transaction()
    await transaction.start()
    await other.fetchval("SELECT count(*) FROM usage_fact")
    under_way = asyncio.create_task(moved(worker, tmp_path))
    await asyncio.sleep(0.5)
    assert not under_way.done()
    await transaction.commit()
    await other.close()
    assert (await under_way).height == 24


async def test_a_day_that_is_not_over_cannot_go(worker: Connection, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="not over"):
        await archive(worker, before=TODAY + timedelta(days=1), today=TODAY, folder=tmp_path)


@pytest.mark.parametrize("join", ["hashjoin", "mergejoin", "nestloop"])
async def test_days_are_read_off_the_names_of_fact_partitions_only(
    worker: Connection, join: str
) -> None:
    """By every plan: some look at all tables before they know which are partitions."""
    await prepare_storage(worker, now=NOW)
    for other in {"hashjoin", "mergejoin", "nestloop"} - {join}:
        await worker.execute(f"SET enable_{other} = off")
    for indexes in ("on", "off"):
        for scan in ("indexscan", "indexonlyscan", "bitmapscan"):
            await worker.execute(f"SET enable_{scan} = {indexes}")
        assert await list_fact_days(worker, before=DAY + timedelta(days=1)) == [DAY]


async def test_finished_days_are_indexed_and_measured_once(worker: Connection) -> None:
    await fill(worker)
    days = [DAY + timedelta(days=n) for n in range(8)]
    assert await list_fact_days(worker, before=TODAY) == days
    assert await close_days(worker, today=BEFORE) == 1
    assert await close_days(worker, today=BEFORE) == 0
    (row,) = await worker.fetch("SELECT * FROM fact_partition")
    assert (row["table_name"], row["stored_day"], row["rows"]) == ("usage_fact", DAY, 24)
    assert row["first_time"] == datetime(2026, 8, 6, 11, 1, 30, tzinfo=UTC)
    assert row["last_time"] == datetime(2026, 8, 6, 11, 41, 30, tzinfo=UTC)
    indexes = await worker.fetch(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'usage_fact_20260806'"
    )
    assert sum('(usage_key_id, "time")' in each["indexdef"] for each in indexes) == 1
