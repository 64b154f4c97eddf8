"""Facts as columns answer as facts in rows do, to everybody who may ask, and never once damaged."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.flows.metering.archive import archive
from ledger.flows.metering.check import check_windows
from ledger.flows.metering.find_facts import find_first_facts, find_standing_facts
from ledger.flows.metering.fold import fold
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.release import release_suspense
from ledger.store.connect import draw_cut_off
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.attempts import sum_attempts
from ledger.store.metering.chunks import ChunkSearch, fetch_chunk, find_chunks, read_chunks
from ledger.store.metering.conflicts import list_stored
from ledger.store.metering.correction import FirstFact
from ledger.store.metering.facts import FactSearch, list_fact_readers
from ledger.store.metering.retention import list_archived
from ledger.store.operations import list_source_states
from ledger.store.queries import Connection
from tests.flows.test_archive import BEFORE, DAY, LATER, TODAY
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
    sequenced,
)

COLUMNS = IngestLimits(chunk_facts=1, end_user_secret=b"secret")
ROWS = IngestLimits(chunk_facts=10**9, end_user_secret=b"secret")
# As rows of a batch that is not small are written.
COPIED = IngestLimits(chunk_facts=10**9, few_rows=0, end_user_secret=b"secret")
LAYOUTS = {
    "rows": (ROWS,),
    "copied": (COPIED,),
    "columns": (COLUMNS,),
    "both in turn": (ROWS, COLUMNS),
}
EMPTY = """usage_fact_20260806, usage_chunk_20260806, receipt, ingest_batch, event_key,
    correction, fate_change, conflict, quarantine, quarantine_raw, quarantine_replay,
    pending_sum, usage_delta, activity, activity_mask, usage_mark, agent_run_delta, usage_key,
    engine_key, source"""
SMALL = settings(max_examples=at_depth(10))
pytestmark = pytest.mark.timeout(300)


async def every_fact(connection: Connection) -> pl.DataFrame:
    """What the one reader finds, wherever it lies, in an order of its own."""
    cut_off = await draw_cut_off(connection, "test")
    async with connection.transaction(isolation="repeatable_read"):
        readers = await list_fact_readers(connection, FactSearch(cut_off.batch_seq))
        frames = [(await read(connection))() for read in readers]
    return pl.concat(frames).sort(pl.all())


async def is_proved(connection: Connection) -> int:
    """The facts of books whose windows are what their facts come to."""
    report = await check_windows([connection])
    assert report.differing == 0, report.differences
    return report.facts


@SMALL
@given(data=st.data())
async def test_any_mix_of_rows_and_columns_gives_the_same_books(
    opened: Connection, database: Database, data: st.DataObject
) -> None:
    calls: list[list[Thing]] = data.draw(things().flatmap(delivered))
    forms = [data.draw(st.sampled_from([ROWS, COLUMNS])) for _ in calls]

    async def told(limits: Sequence[IngestLimits]) -> list[Any]:
        await empty(database, EMPTY)
        gate, outcomes = Gate(opened), []
        for call, gate.limits in zip(calls, limits, strict=True):
            outcomes += await gate.outcomes(*records_of(call))
        facts = await every_fact(opened)
        assert await is_proved(opened) == facts.height
        return [outcomes, await books(opened), await fates(opened), facts.rows()]

    assert await told(forms) == await told([ROWS] * len(calls))


async def tell(connection: Connection, layout: str) -> Gate:
    """Facts of every shape, each call stored in another form if the layout is mixed."""
    gate, forms = Gate(connection), LAYOUTS[layout]
    rich = attempt("e0", minute=1, end_user_id="someone", agent={"run_id": "rün-1"})
    rich["data"] |= {
        "started_at": "2026-08-06T10:58:00.000001Z",
        "first_token_at": "2026-08-06T11:00:01.5Z",
        "ended_at": "2026-08-06T11:01:30.999999Z",
        "engine": {"instance": "pod-1"},
    }
    calls = [
        [keyed(rich, *(attempt(f"e{n}", minute=n, tokens=n) for n in range(1, 9)))],
        [sequenced([attempt(minute=40, tokens=100), attempt(minute=41)])],
        [keyed(attempt("u1", minute=5, customer_id="late"), attempt("u2", customer_id="nobody"))],
        [keyed(correction("c3", of="e3", revision=1, tokens=7, minute=9))],
        # The event is superseded in the batch that stores it.
        [keyed(attempt("e9"), correction("c9", of="e9", revision=1, tokens=3))],
        [keyed(correction("c4", of="e4", revision=2, tokens=8), attempt("u3", customer_id="late"))],
        [sequenced([correction("", of="1.1.0", revision=1, tokens=5)], sequence=2)],
    ]
    for n, call in enumerate(calls):
        gate.limits = forms[n % len(forms)]
        await gate.send(*call)
    return gate


async def answers(gate: Gate) -> list[Any]:
    """What every reader of facts says of them."""
    worker = gate.connection
    (batches,) = await worker.fetch("SELECT min(batch_seq) AS first FROM event_key")
    first = batches["first"]
    cut_off = await draw_cut_off(worker, "test")
    async with worker.transaction(isolation="repeatable_read"):
        attempts = await sum_attempts(
            worker,
            since=datetime(2026, 8, 6, 10, tzinfo=UTC),
            until=datetime(2026, 8, 6, 12, tzinfo=UTC),
            batch_seq=cut_off.batch_seq,
        )
    places = [(first, n) for n in range(9)]
    standing = (await find_standing_facts(worker, places)).sort("n")
    return [
        (await every_fact(worker)).rows(),
        await is_proved(worker),
        attempts,
        standing.drop("batch_seq", "source_id")
        .with_columns(pl.col("end_user").str.replace_all("-", ""))
        .rows(),
        await find_first_facts(worker, [*places, (first, 99)]),
        [(one.source, one.last_event_at, one.counted) for one in await list_source_states(worker)],
    ]


WRITTEN = (
    *("usage_fact", "usage_delta", "usage_mark", "activity", "activity_mask"),
    *("agent_run_delta", "taken_event", "receipt"),
)


async def written(connection: Connection) -> dict[str, list[tuple[int, str]]]:
    """Every row that the batches wrote, by table, without what follows from a number of a source;
    their own numbers counted from the first."""
    first = await connection.fetchval("SELECT min(batch_seq) FROM receipt")
    found = {}
    for table in WRITTEN:
        rows = await connection.fetch(
            f"""SELECT t.batch_seq - $1 AS batch,
                       (to_jsonb(t) - '{{batch_seq,source_id,key,slot}}'::text[])::text AS said
                  FROM {table} t ORDER BY 1, 2""",
            first,
        )
        found[table] = [tuple(row) for row in rows]
    return found


async def test_a_small_batch_writes_the_rows_that_a_copy_of_each_table_would(
    opened: Connection, database: Database
) -> None:
    unsaid = {"input": {"uncached": 5}, "output": {"visible": 1}}
    found = []
    for layout in ("copied", "rows"):
        gate = await tell(opened, layout)
        await gate.send(*(keyed(attempt(f"m{n}", usage=unsaid, minute=n)) for n in range(9)))
        found.append(await written(opened))
        await empty(database, EMPTY)
    assert all(found[0].values()), "every table is written"
    assert found[0] == found[1]


@pytest.mark.parametrize("layout", ["columns", "both in turn"])
async def test_every_reader_of_facts_says_the_same_of_rows_columns_and_files(
    opened: Connection, database: Database, tmp_path: Path, layout: str
) -> None:
    worker = opened
    expected = await answers(await tell(worker, "rows"))
    assert expected[2], "attempts ran on an engine"
    assert expected[4][3] == FirstFact(0, "acme", False)
    await empty(database, EMPTY)
    gate = await tell(worker, layout)
    assert await worker.fetchval("SELECT count(*) FROM usage_chunk") >= 3
    assert await answers(gate) == expected
    await fold(worker)
    assert await answers(gate) == expected
    await add_customer(worker, "late")
    gate.limits = COLUMNS
    released = await release_suspense(worker, directory=gate.directory, now=NOW)
    assert released == 2
    assert await is_proved(worker) == len(expected[0]) + 4
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
    late = correction("c5", of="e5", revision=1, tokens=70, minute=5)
    assert await gate.outcomes(keyed(late)) == ["created"]


async def test_a_file_has_every_column_of_what_was_in_rows_and_in_columns(
    opened: Connection, tmp_path: Path
) -> None:
    worker = opened
    gate = await tell(worker, "both in turn")
    await add_customer(worker, "late")
    await add_customer(worker, "nobody")
    await release_suspense(worker, directory=gate.directory, now=NOW)
    await prepare_storage(worker, now=LATER)
    await archive(worker, before=BEFORE, today=TODAY, folder=tmp_path)
    (day,) = await list_archived(worker)
    rich = scan_archived(day).filter(pl.col("event_id") == "e0").collect().row(0, named=True)
    assert (rich["agent_run_id"], rich["stored_day"]) == ("rün-1", DAY)
    assert len(rich["end_user"]) == 36
    assert rich["started_at"] == datetime(2026, 8, 6, 10, 58, 0, 1, tzinfo=UTC)


async def test_what_a_conflict_met_is_shown_from_columns(opened: Connection) -> None:
    await tell(opened, "columns")
    (batch,) = await opened.fetch("SELECT batch_seq FROM ingest_batch WHERE sequence = 1")
    (one,) = await list_stored(opened, batch_seq=batch["batch_seq"], first=1, items=1)
    assert (one.ordinal, getattr(one, "customer_ref", None)) == (1, "acme")
    assert getattr(one, "model", None) == "llama"


async def test_a_customer_gets_its_own_facts_out_of_a_chunk(
    opened: Connection, api: Connection, database: Database
) -> None:
    worker = opened
    await add_customer(worker, "beta")
    gate = Gate(worker, COLUMNS)
    await gate.send(keyed(attempt("a"), attempt("b", customer_id="beta"), attempt("c")))
    (chunk,) = await find_chunks(worker, ChunkSearch())
    octets = await fetch_chunk(worker, chunk)
    assert octets is not None
    assert octets.read(["event_id"])["event_id"].to_list() == ["a", "b", "c"]

    async def seen(role: str, customer_id: str | None) -> list[str]:
        async with api.transaction():
            await ask_as(api, database, role, customer_id)
            chunks = await find_chunks(api, ChunkSearch())
            return [e async for f in read_chunks(api, chunks) for e in f["event_id"].to_list()]

    assert await seen("customer", "acme") == ["a", "c"]
    assert await seen("customer", "beta") == ["b"]
    assert await seen("admin", None) == ["a", "b", "c"]
    async with api.transaction():
        assert await find_chunks(api, ChunkSearch()) == [], "nobody asks"


async def test_a_damaged_chunk_is_named_and_not_summed(
    opened: Connection, database: Database
) -> None:
    worker = opened
    gate = await tell(worker, "columns")
    facts = await is_proved(worker)
    (batch,) = await worker.fetch("SELECT min(batch_seq) AS first FROM usage_chunk")
    await execute(
        database.superuser_url,
        f"""SET session_replication_role = replica;
            UPDATE usage_chunk SET facts = set_byte(facts, 99, 255 - get_byte(facts, 99))
             WHERE batch_seq = {batch["first"]}""",
    )
    report = await check_windows([worker])
    assert report.facts == facts - 9
    damaged = report.differences[0]
    assert (damaged["table"], damaged["place"]) == (
        "usage_chunk",
        f"batch {batch['first']}, stored on 2026-08-06",
    )
    mend = correction("c5", of="e5", revision=1, tokens=70, minute=5)
    (found,) = await gate.send(keyed(mend), now=NOW + timedelta(minutes=1))
    (item,) = found.items()
    assert (item.outcome, item.reason) == ("rejected", "target_away")
