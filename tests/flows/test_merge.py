"""Merged facts answer as what they were merged of; killed anywhere, all is as before or merged."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.flows.check_seals import check_sealed_day, check_seals
from ledger.flows.metering.archive import archive
from ledger.flows.metering.check import check_windows
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.merge import MergeReport, MergeSizes, merge
from ledger.flows.metering.release import release_suspense
from ledger.flows.seal import seal
from ledger.store.connect import draw_cut_off
from ledger.store.metering.chunks import ChunkSearch, find_chunks, read_chunks
from ledger.store.metering.conflicts import list_stored
from ledger.store.metering.facts import FactSearch, list_fact_readers
from ledger.store.metering.merging import UnmergedDays, count_unmerged_days
from ledger.store.queries import Connection
from tests.flows.test_archive import BEFORE, DAY, LATER, TODAY
from tests.flows.test_chunks import COLUMNS, ROWS, answers, every_fact, is_proved, tell
from tests.flows.test_chunks import EMPTY as EMPTY_OF_CHUNKS
from tests.flows.test_ingest_properties import Thing, books, delivered, records_of, things
from tests.support.asking import ask_as
from tests.support.database import Database, empty, execute
from tests.support.examples import at_depth
from tests.support.usage import (
    NOW,
    Gate,
    add_customer,
    attempt,
    correction,
    fates,
    keyed,
)

EMPTY = f"{EMPTY_OF_CHUNKS}, merged_chunk, seal, seal_part"
# A chunk of two facts, five of them put in order at once: what a day of millions has.
SMALL = MergeSizes(chunk=2, run=5, page=3)
FEW = settings(max_examples=at_depth(10))
pytestmark = pytest.mark.timeout(300)


async def merged(connection: Connection, sizes: MergeSizes = SMALL) -> MergeReport:
    """Everything that is stored, as of the day after."""
    return await merge(connection, today=TODAY, sizes=sizes)


async def unlike(connection: Connection) -> list[str]:
    """What differs from what was sealed."""
    return [f"{each.table} {each.name}" for each in (await check_seals([connection])).differences]


async def left(connection: Connection) -> tuple[int, int, int]:
    """Facts in rows, in chunks of a batch, and merged ones."""
    row = await connection.fetchrow(
        """SELECT (SELECT count(*) FROM usage_fact) AS rows,
                  (SELECT coalesce(sum(rows), 0) FROM usage_chunk
                    WHERE facts IS NOT NULL) AS chunks,
                  (SELECT coalesce(sum(rows), 0) FROM merged_chunk) AS merged"""
    )
    assert row is not None
    return row["rows"], row["chunks"], row["merged"]


@FEW
@given(data=st.data())
async def test_any_mix_of_rows_chunks_and_merged_facts_gives_the_same_books(
    opened: Connection, database: Database, data: st.DataObject
) -> None:
    calls: list[list[Thing]] = data.draw(things().flatmap(delivered))
    forms = [data.draw(st.sampled_from([ROWS, COLUMNS])) for _ in calls]
    merges = [data.draw(st.booleans()) for _ in calls]

    async def told(limits: Sequence[IngestLimits], *, merging: Sequence[bool]) -> list[Any]:
        await empty(database, EMPTY)
        gate, outcomes = Gate(opened), []
        for call, gate.limits, now in zip(calls, limits, merging, strict=True):
            outcomes += await gate.outcomes(*records_of(call))
            if now:
                await merged(opened)
        facts = await every_fact(opened)
        assert await is_proved(opened) == facts.height
        assert await unlike(opened) == []
        return [outcomes, await books(opened), await fates(opened), facts.rows()]

    expected = await told([ROWS] * len(calls), merging=[False] * len(calls))
    assert await told(forms, merging=merges) == expected


@pytest.mark.parametrize("layout", ["rows", "columns", "both in turn"])
async def test_every_reader_of_facts_says_the_same_of_merged_ones(
    opened: Connection, database: Database, tmp_path: Path, layout: str
) -> None:
    worker = opened
    gate = await tell(worker, layout)
    expected = await answers(gate)
    done = await merged(worker)
    assert (done.facts, done.kept) == (len(expected[0]), [])
    assert await left(worker) == (0, 0, len(expected[0]))
    assert await answers(gate) == expected
    assert (await merged(worker)).merged == []
    assert await unlike(worker) == []
    await add_customer(worker, "late")
    gate.limits = COLUMNS if layout == "columns" else ROWS
    assert await release_suspense(worker, directory=gate.directory, now=NOW) == 2
    assert await is_proved(worker) == len(expected[0]) + 4
    # What comes later is merged by itself.
    assert (await merged(worker)).facts == 4
    assert await is_proved(worker) == len(expected[0]) + 4
    late = correction("c5", of="e5", revision=1, tokens=70, minute=5)
    assert await gate.outcomes(keyed(late)) == ["created"]
    assert (await merged(worker)).facts == 2
    # One waits on, and keeps its day in the database.
    await prepare_storage(worker, now=LATER)
    report = await archive(worker, before=BEFORE, today=TODAY, folder=tmp_path)
    assert [one.stored_day for one in report.kept] == [DAY]
    await add_customer(worker, "nobody")
    assert await release_suspense(worker, directory=gate.directory, now=LATER) == 1
    facts = await every_fact(worker)
    report = await archive(worker, before=BEFORE, today=TODAY, folder=tmp_path)
    assert [one.day.rows for one in report.archived] == [facts.height - 2]
    assert (await every_fact(worker)).equals(facts)
    assert await is_proved(worker) == facts.height
    assert await unlike(worker) == []
    late = correction("c6", of="e6", revision=1, tokens=60, minute=6)
    assert await gate.outcomes(keyed(late)) == ["created"]


async def test_a_cut_off_reads_the_same_before_and_after_a_merge(opened: Connection) -> None:
    gate = Gate(opened, COLUMNS)
    await gate.send(keyed(attempt("a"), attempt("b")))
    cut_off = await draw_cut_off(opened, "test")
    gate.limits = ROWS
    await gate.send(keyed(correction("c", of="a", revision=1, tokens=7), attempt("d")))

    async def seen() -> list[Any]:
        async with opened.transaction(isolation="repeatable_read"):
            search = FactSearch(cut_off.batch_seq)
            frames = [(await read(opened))() for read in await list_fact_readers(opened, search)]
        return pl.concat(frames).sort(pl.all()).rows()

    before = await seen()
    assert len(before) == 2
    await merged(opened)
    assert await left(opened) == (0, 0, 5)
    assert await seen() == before


async def test_what_is_not_sealed_or_of_a_day_that_is_not_over_is_not_merged(
    opened: Connection,
) -> None:
    gate = Gate(opened, ROWS)
    await gate.send(keyed(attempt("a"), attempt("b"), attempt("c")))
    done = await merge(opened, today=DAY, sizes=SMALL)
    assert (done.merged, await left(opened)) == ([], (3, 0, 0))
    done = await merge(opened, today=DAY, sizes=MergeSizes(open_day=3))
    assert (done.facts, await left(opened)) == (3, (0, 0, 3))
    tomorrow = DAY + timedelta(days=1)
    assert await count_unmerged_days(opened, before=tomorrow) == UnmergedDays(0, None)
    await gate.send(keyed(attempt("d")))
    assert await count_unmerged_days(opened, before=DAY) == UnmergedDays(0, None)
    assert await count_unmerged_days(opened, before=tomorrow) == UnmergedDays(1, DAY)


async def test_a_day_is_held_against_its_seals_without_a_look_at_another(
    opened: Connection, database: Database
) -> None:
    gate = Gate(opened, ROWS)
    await prepare_storage(opened, now=LATER)
    for n, gate.limits in enumerate([ROWS, COLUMNS]):
        for now in (NOW, LATER):
            await gate.send(keyed(attempt(f"{now.day}-{n}", minute=n)), now=now)
    assert [day.facts for day in (await merged(opened)).merged] == [2]
    for now in (NOW, LATER):
        await gate.send(keyed(attempt(f"{now.day}-late", minute=9)), now=now)
    await seal(opened)
    await opened.execute("SET lock_timeout = '2s'")
    other = await asyncpg.connect(database.superuser_url)
    async with other.transaction():
        for table in ("usage_fact", "usage_chunk", "merged_chunk"):
            await other.execute(f"LOCK TABLE {table}_{TODAY:%Y%m%d} IN ACCESS EXCLUSIVE MODE")
        assert await check_sealed_day(opened, DAY) == []
        with pytest.raises(asyncpg.LockNotAvailableError):
            await check_sealed_day(opened, TODAY)
    await other.close()
    assert await check_sealed_day(opened, TODAY) == []


STATEMENTS = {
    "before the first chunk": ("merged_chunk", "INSERT", 1),
    "between two chunks": ("merged_chunk", "INSERT", 3),
    "before chunks lose their facts": ("usage_chunk", "UPDATE", 1),
    "before rows go": ("usage_fact", "DELETE", 1),
}


@pytest.mark.parametrize("when", STATEMENTS)
async def test_a_merge_killed_between_two_statements_leaves_all_as_it_was(
    opened: Connection, database: Database, when: str
) -> None:
    table, statement, nth = STATEMENTS[when]
    gate = await tell(opened, "both in turn")
    expected = await answers(gate)
    before = await left(opened)
    await execute(
        database.superuser_url,
        f"""CREATE SEQUENCE meets;
            CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN
              IF nextval('meets') = {nth} THEN
                PERFORM pg_terminate_backend(pg_backend_pid());
              END IF;
              RETURN NULL;
            END $$;
            CREATE TRIGGER end_it BEFORE {statement} ON {table}
              FOR EACH STATEMENT EXECUTE FUNCTION end_it()""",
    )
    victim = await asyncpg.connect(database.worker_url)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await merged(victim)
    assert await left(opened) == before
    assert await answers(gate) == expected
    await execute(database.superuser_url, f"DROP TRIGGER end_it ON {table}")
    assert (await merged(opened)).facts == sum(before)
    assert await left(opened) == (0, 0, sum(before))
    assert await answers(gate) == expected


async def test_who_found_a_chunk_before_it_was_merged_reads_its_facts_all_the_same(
    opened: Connection,
) -> None:
    await tell(opened, "columns")
    chunks = await find_chunks(opened, ChunkSearch())
    before = [facts.sort("ordinal").rows() async for facts in read_chunks(opened, chunks)]
    await merged(opened)
    places: dict[int, list[Any]] = {chunk.first_batch_seq: [] for chunk in chunks}
    async for facts in read_chunks(opened, chunks):
        for row in facts.iter_rows(named=True):
            places[row["batch_seq"]].append(tuple(row.values()))
    assert [sorted(rows, key=lambda row: row[3]) for rows in places.values()] == before
    wanted = pl.col("ordinal") > 0
    some = [facts async for facts in read_chunks(opened, chunks, wanted=wanted)]
    asked = sorted((row for rows in before for row in rows if row[3] > 0), key=lambda row: row[2:4])
    assert sorted(pl.concat(some).rows(), key=lambda row: row[2:4]) == asked


async def test_a_snapshot_taken_before_a_merge_sees_what_it_was_merged_of(
    opened: Connection, database: Database
) -> None:
    await tell(opened, "both in turn")
    expected = (await every_fact(opened)).rows()
    cut_off = await draw_cut_off(opened, "test")
    other = await asyncpg.connect(database.worker_url)
    async with opened.transaction(isolation="repeatable_read"):
        readers = await list_fact_readers(opened, FactSearch(cut_off.batch_seq))
        done = await merged(other)
        assert done.facts == len(expected), "a reader keeps no merge out"
        frames = [(await read(opened))() for read in readers]
    await other.close()
    assert pl.concat(frames).sort(pl.all()).rows() == expected


async def test_what_a_conflict_met_is_shown_from_merged_facts(opened: Connection) -> None:
    await tell(opened, "both in turn")
    (batch,) = await opened.fetch("SELECT batch_seq FROM ingest_batch WHERE sequence = 1")
    within = {"batch_seq": batch["batch_seq"], "first": 1, "items": 1}
    before = await list_stored(opened, **within)
    await merged(opened)
    assert await list_stored(opened, **within) == before


async def test_a_customer_gets_its_own_facts_out_of_merged_ones(
    opened: Connection, api: Connection, database: Database
) -> None:
    await add_customer(opened, "beta")
    gate = Gate(opened, ROWS)
    events = [attempt("a"), attempt("b", customer_id="beta"), attempt("c"), attempt("d")]
    await gate.send(keyed(*events))
    await merged(opened)

    async def seen(role: str, customer_id: str | None, search: ChunkSearch) -> list[str]:
        async with api.transaction():
            await ask_as(api, database, role, customer_id)
            chunks = await find_chunks(api, search)
            return [e async for f in read_chunks(api, chunks) for e in f["event_id"].to_list()]

    assert sorted(await seen("customer", "acme", ChunkSearch())) == ["a", "c", "d"]
    assert await seen("customer", "beta", ChunkSearch(customer_id="beta")) == ["b"]
    assert sorted(await seen("admin", None, ChunkSearch())) == ["a", "b", "c", "d"]
    found = [await find_chunks(opened, ChunkSearch(customer_id=who)) for who in ("acme", "beta")]
    assert [len(chunks) for chunks in found] == [2, 1], "chunks of others are not looked at"
    assert [chunk.part for chunk in found[1]] == [2]
    async with api.transaction():
        assert await find_chunks(api, ChunkSearch()) == [], "nobody asks"


TAMPERED = {
    "its octets": ("facts = set_byte(facts, 99, 255 - get_byte(facts, 99))", "check"),
    "its octets and their SHA-256": (
        "facts = (SELECT m.facts FROM merged_chunk m WHERE m.part = 2),"
        " sha256 = (SELECT m.sha256 FROM merged_chunk m WHERE m.part = 2)",
        "seal",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_merged_facts_changed_on_disk_are_named_and_not_summed(
    opened: Connection, database: Database, what: str
) -> None:
    change, who = TAMPERED[what]
    gate = await tell(opened, "both in turn")
    await merged(opened)
    await gate.send(keyed(attempt("later")))
    await seal(opened)
    facts = await is_proved(opened)
    assert await unlike(opened) == []
    await execute(
        database.superuser_url,
        f"""SET session_replication_role = replica;
            UPDATE merged_chunk SET {change} WHERE part = 1""",
    )
    if who == "seal":
        assert await unlike(opened) == ["merged_chunk digest"]
        return
    report = await check_windows([opened])
    assert report.facts == facts - 2
    damaged = report.differences[0]
    assert damaged["table"] == "merged_chunk"
    assert damaged["place"] == "merged chunk 1, stored on 2026-08-06"


async def test_a_day_that_is_not_as_it_was_sealed_is_not_merged(
    opened: Connection, database: Database
) -> None:
    gate = Gate(opened, COLUMNS)
    await gate.send(keyed(attempt("a"), attempt("b")))
    gate.limits = ROWS
    await gate.send(keyed(attempt("c")))
    await seal(opened)
    for change in (
        "UPDATE usage_fact SET visible = visible + 1",
        "UPDATE usage_chunk SET facts = set_byte(facts, 99, 255 - get_byte(facts, 99))",
    ):
        async with Undone(database, change):
            done = await merged(opened)
            assert (done.merged, [kept.stored_day for kept in done.kept]) == ([], [DAY])
            assert await left(opened) == (1, 2, 0)
    assert (await merged(opened)).facts == 3


class Undone:
    """A change by whoever may change everything, and its contrary."""

    def __init__(self, database: Database, change: str) -> None:
        self.database, self.change = database, change

    async def __aenter__(self) -> None:
        await execute(
            self.database.superuser_url, f"SET session_replication_role = replica; {self.change}"
        )

    async def __aexit__(self, *_: object) -> None:
        contrary = self.change.replace("visible + 1", "visible - 1")
        await execute(
            self.database.superuser_url, f"SET session_replication_role = replica; {contrary}"
        )


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM usage_fact",
        f"DELETE FROM usage_fact_{DAY:%Y%m%d}",
        "UPDATE usage_fact SET visible = 0",
        f"UPDATE usage_fact_{DAY:%Y%m%d} SET visible = 0",
        "UPDATE usage_chunk SET facts = NULL",
        "DELETE FROM usage_chunk",
        "DELETE FROM merged_chunk",
        "UPDATE merged_chunk SET rows = 1",
    ],
)
async def test_nobody_takes_facts_away_that_are_not_merged(
    opened: Connection, owner: Connection, change: str
) -> None:
    gate = Gate(opened, COLUMNS)
    await gate.send(keyed(attempt("a"), attempt("b")))
    await merged(opened)
    await gate.send(keyed(attempt("c"), attempt("d")))
    gate.limits = ROWS
    await gate.send(keyed(attempt("e")))
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await owner.execute(change)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await opened.execute(change)


async def test_a_merge_of_other_facts_than_the_day_has_is_refused(opened: Connection) -> None:
    gate = Gate(opened, ROWS)
    await gate.send(keyed(attempt("a"), attempt("b")))
    await merged(opened)
    await gate.send(keyed(attempt("c")))
    last = await opened.fetchval("SELECT max(batch_seq) FROM usage_fact")
    undone = opened.transaction()
    await undone.start()
    await opened.execute(
        """INSERT INTO merged_chunk
               SELECT (jsonb_populate_record(m, jsonb_build_object(
                         'part', 2, 'last_batch_seq', $1::bigint))).*
                 FROM merged_chunk m""",
        last,
    )
    with pytest.raises(asyncpg.RestrictViolationError, match="1 in rows, merged were 2"):
        await opened.fetchval("SELECT finish_merge($1, $2, 2)", DAY, last)
    await undone.rollback()
    assert await left(opened) == (1, 0, 2)
