"""Sessions that froze are ended, days made, and what arrived is known without reading it all."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta

import asyncpg
import pytest

from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.watch import end_frozen, measure
from ledger.store import operations
from ledger.store.connect import connect, draw_batch_seq, draw_cut_off
from ledger.store.metering.retention import close_day, close_days, list_fact_days
from ledger.store.operations import SequenceGap
from ledger.store.queries import Connection, load_queries
from tests.flows.test_cut_off import LOST, facts_seen, held_batch
from tests.support.database import Database
from tests.support.plans import explain
from tests.support.usage import NOW, Gate, attempt, bound_to, fates, keyed, open_books, sequenced
from tests.support.waiting import PATIENCE_S, until

LONG_S = 60
STATES = """
SELECT s.source, sum(r.received)::bigint AS received, sum(r.counted)::bigint AS counted,
       sum(r.duplicate)::bigint AS duplicate, sum(r.conflict)::bigint AS conflict,
       sum(r.quarantined)::bigint AS quarantined, sum(r.suspense)::bigint AS suspense,
       max(r.received_at) AS last_received_at
  FROM source s JOIN receipt r USING (source_id) GROUP BY 1 ORDER BY 1
"""
WAITING = """
SELECT count(*) FROM quarantine q
 WHERE NOT EXISTS (SELECT FROM quarantine_replay p WHERE p.quarantine_id = q.quarantine_id)
"""


SLEEPS = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1"


async def test_a_frozen_session_is_ended_and_its_batch_is_new_when_sent_again(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    gate = Gate(worker)
    async with held_batch(database) as frozen:
        await gate.send(keyed(attempt("after")))
        early, seen = await facts_seen(worker)
        assert seen == 0
        assert await end_frozen(worker, quiet_s=LONG_S) == [], "it may still be at work"
        assert len(await operations.list_open_batches(worker)) == 1
        ended: list[operations.EndedSession] = []

        async def rested() -> bool:
            ended.extend(await end_frozen(worker, quiet_s=0))
            return bool(ended)

        await until(rested, "its session waits for its client")
        (gone,) = ended
        assert (gone.pid, gone.batch_seq) == (frozen.connection.get_server_pid(), early + 1)

        async def freed() -> bool:
            return (await facts_seen(worker))[1] > 0

        await until(freed, "the cut-off moves on")
        assert [row.batch_seq for row in await operations.list_ended_sessions(worker, most=9)]
        frozen.turn.go_on.set()
        with pytest.raises(LOST):
            await frozen.task
    assert await gate.outcomes(keyed(attempt("slow"), attempt("slower"))) == ["created"] * 2
    assert await fates(worker) == {"received": 3, "counted": 3}


async def test_a_session_at_work_is_left_alone(worker: Connection, database: Database) -> None:
    busy = await connect(database.worker_url)
    async with busy.transaction():
        batch_seq = await draw_batch_seq(busy)
        working = asyncio.create_task(busy.execute("SELECT pg_sleep(600)"))
        await until(lambda: worker.fetchval(SLEEPS, busy.get_server_pid()), "it is at work")
        opened = await operations.list_open_batches(worker)
        assert [row.batch_seq for row in opened] == [batch_seq]
        assert await end_frozen(worker, quiet_s=0) == []
        working.cancel()
        await asyncio.wait([working])
    await busy.close()
    assert (await measure(worker)).began_at is None


async def test_who_owns_nothing_ends_no_session_of_another_role(
    worker: Connection, database: Database
) -> None:
    operator = await connect(database.superuser_url)
    async with operator.transaction():
        await draw_batch_seq(operator)
        assert await end_frozen(worker, quiet_s=0) == []
    await operator.close()
    api = await connect(database.api_url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await end_frozen(api, quiet_s=0)
    await api.close()


async def same_as_reading_all(worker: Connection) -> Sequence[SequenceGap]:
    """Compares what is known with what all receipts say; returns the gaps."""
    found = await measure(worker)
    every = [dict(row) for row in await worker.fetch(STATES)]
    assert [{name: getattr(one, name) for name in every[0]} for one in found.sources] == every
    assert found.quarantined == await worker.fetchval(WAITING)
    sums = {name: n for name, n in asdict(await operations.sum_receipts(worker)).items() if n}
    assert sums == await fates(worker)
    return found.gaps


def missing(gaps: Sequence[SequenceGap]) -> list[tuple[int, int]]:
    return [(gap.first_missing, gap.last_missing) for gap in gaps]


async def test_what_arrived_is_summed_once_whatever_was_open_when_it_was_summed(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    gate = Gate(worker)

    async def send(*sequences: int) -> None:
        for n in sequences:
            await gate.send(sequenced([attempt(), attempt(customer_id="who")], sequence=n))

    await send(2, 3, 7, 3)
    bad = keyed(attempt("a"), attempt("a"), attempt("a", tokens=3), attempt("b") | {"time": "x"})
    await gate.send(bad)
    assert missing(await same_as_reading_all(worker)) == [(1, 1), (4, 6)]
    await draw_cut_off(worker, "test")
    assert missing(await same_as_reading_all(worker)) == [(1, 1), (4, 6)]
    async with held_batch(database) as held:
        await send(5, 9)
        await draw_cut_off(worker, "test")
        # What is behind the open batch is not summed yet, and known all the same.
        assert missing(await same_as_reading_all(worker)) == [(1, 1), (4, 4), (6, 6), (8, 8)]
        await held.finish()
    await send(4, 1, 5)
    for _ in range(2):
        assert missing(await same_as_reading_all(worker)) == [(6, 6), (8, 8)]
        await draw_cut_off(worker, "test")
    await send(6, 8)
    assert await same_as_reading_all(worker) == []


async def test_a_body_of_several_sources_is_heard_from_each_of_them(worker: Connection) -> None:
    await open_books(worker)
    body = keyed(
        attempt("a1") | {"source": "/one"},
        attempt("b1", customer_id="stranger") | {"source": "/two"},
        attempt("b2", tokens=-5) | {"source": "/two"},
        attempt("b3") | {"source": "/two"},
        attempt("a1") | {"source": "/one"},
        attempt("c1") | {"source": ""},
    )
    await Gate(worker).outcomes(body)
    became = {"received": 6, "counted": 2, "duplicate": 1, "quarantined": 2, "suspense": 1}
    assert await fates(worker) == became
    _, one, two = await operations.list_source_states(worker)
    shown = ("source", "received", "counted", "duplicate", "quarantined", "suspense")
    assert [getattr(one, name) for name in shown] == ["/one", 2, 1, 1, 0, 0]
    assert [getattr(two, name) for name in shown] == ["/two", 3, 1, 0, 1, 1]


async def test_two_processes_do_not_sum_the_same_receipts(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    await Gate(worker).send(keyed(attempt("a")))
    await draw_cut_off(worker, "test")
    other = await connect(database.worker_url)
    async with other.transaction():
        assert await operations.sum_receipts_to_cut_off(other) is not None
        assert await operations.sum_receipts_to_cut_off(worker) is None
    await other.close()
    await same_as_reading_all(worker)


HISTORY = """
INSERT INTO source (source, form, batch_seq) VALUES ('/hosts/a', 'sequenced', 1);
SELECT setval('batch_seq', 50000);
INSERT INTO receipt (batch_seq, ordinal_from, source_id, lane, transport, received_at, received,
                     counted)
SELECT b, 0, 1, 0, 'kafka', now(), 1, 1 FROM generate_series(1, 50000) b;
INSERT INTO ingest_batch (source_id, producer, epoch, sequence, digest, batch_seq, ordinal_from,
                          events)
SELECT 1, 'p', 1, b, gen_random_uuid(), b, 0, 1 FROM generate_series(1, 50000) b WHERE b <> 77;
"""
PAGES_MAX = 100


@pytest.mark.parametrize("name", ["list_source_states", "sum_receipts", "list_sequence_gaps"])
async def test_what_is_asked_every_minute_does_not_grow_with_history(
    worker: Connection, database: Database, name: str
) -> None:
    query = operations.OPERATIONS[name]
    superuser = await connect(database.superuser_url)
    await superuser.execute(HISTORY)
    await superuser.execute("ANALYZE receipt, ingest_batch")
    before = await explain(worker, query)
    await draw_cut_off(worker, "test")
    await operations.sum_receipts_to_cut_off(worker)
    await superuser.execute("VACUUM ANALYZE receipt, ingest_batch, receipt_summed")
    await superuser.close()
    after = await explain(worker, query)
    assert (before.pages > 3 * PAGES_MAX, after.rows) == (True, 1)
    assert after.pages < PAGES_MAX


async def test_days_are_made_ahead_while_a_batch_is_on_its_way(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    later = NOW + timedelta(days=30)
    async with held_batch(database) as held:
        # Seven tables have days, and a week and a day of them is made.
        assert await asyncio.wait_for(prepare_storage(worker, now=later), PATIENCE_S) == 7 * 8
        await held.finish()
    await Gate(worker).send(keyed(attempt("later")), now=later)
    part = f"usage_fact_{later:%Y%m%d}"
    kinds = "SELECT count(*) FROM pg_index WHERE indrelid = $1::text::regclass"
    assert await worker.fetchval(kinds, part) == 1
    owner = await connect(database.owner_url)
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute(f"UPDATE {part} SET visible = 0")
    await owner.close()


async def test_closing_a_day_gives_up_rather_than_holding_up_writers(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await gate.send(keyed(attempt("before")))
    async with held_batch(database):
        closer = await connect(database.worker_url)
        closing = asyncio.create_task(close_day(closer, NOW.date()))
        await asyncio.sleep(0.3)
        # It waits for the batch, and this one behind it: for two seconds, not for ever.
        await asyncio.wait_for(gate.send(keyed(attempt("after"))), PATIENCE_S)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await closing
        await closer.close()
    with suppress(asyncpg.LockNotAvailableError):
        assert (await close_day(worker, NOW.date())).rows == 4


async def test_days_are_known_whatever_way_the_planner_takes(worker: Connection) -> None:
    await open_books(worker)
    await worker.execute("ANALYZE; SET enable_nestloop = off; SET enable_mergejoin = off")
    assert await close_days(worker, today=NOW.date() + timedelta(days=2)) == 2
    assert await list_fact_days(worker, before=NOW.date()) == []


RUNS = """
INSERT INTO cut_off (batch_seq, purpose) SELECT n, 'rate' FROM generate_series(1, 50000) n;
INSERT INTO stage_run (stage, entity_id, cut_off_id, windows, rows)
SELECT CASE n % 2 WHEN 0 THEN 'allocate' ELSE 'rate' END, 'factory', cut_off_id, 0, 0
  FROM cut_off, LATERAL (SELECT batch_seq AS n) each ORDER BY cut_off_id;
ANALYZE stage_run, cut_off
"""
RATE = {"stage": "rate", "entity_id": "factory"}


@pytest.mark.parametrize(
    ("room", "name", "given", "found"),
    [
        ("stage_runs", "find_last_run", RATE, [49_999]),
        ("operations", "list_stage_states", {}, [50_000, 49_999]),
    ],
)
async def test_the_last_run_of_a_stage_is_found_without_reading_the_others(
    worker: Connection,
    database: Database,
    room: str,
    name: str,
    given: dict[str, str],
    found: list[int],
) -> None:
    superuser = await connect(database.superuser_url)
    await superuser.execute(RUNS)
    await superuser.close()
    query = load_queries(room)[name]
    assert [row["batch_seq"] for row in await query.rows(worker, **given)] == found
    for generic in (False, True):
        assert (await explain(worker, query, generic=generic, **given)).pages < PAGES_MAX


@pytest.mark.parametrize("generic", [False, True])
async def test_engines_of_a_day_are_found_without_reading_the_days_before(
    worker: Connection, generic: bool
) -> None:
    await open_books(worker)
    since = NOW + timedelta(days=5)
    span = {"since": since, "until": since + timedelta(days=1), "batch_seq": 2**62}
    query = load_queries("energy/meter")["list_engine_instances"]
    plan = await explain(worker, query, generic=generic, **span)
    read = sorted(node["Relation Name"] for node in plan.scans("counter_reading_"))
    assert read == [f"counter_reading_{since + timedelta(days=n):%Y%m%d}" for n in (-1, 0, 1, 2)]


async def test_a_number_of_a_bound_key_is_a_gap_of_its_own(worker: Connection) -> None:
    """However high it is: the house lacks nothing, and nothing of the house's is lacking to it."""
    await open_books(worker)
    gate = Gate(worker)
    high = sequenced([attempt("", tokens=9)], sequence=10**15)
    allowed = bound_to(["/hosts/a"], "acme")
    await gate.send(sequenced([attempt("")]), sequenced([attempt("")], sequence=2))
    await gate.send(replace(high, permission=allowed))
    for _ in range(2):
        (gap,) = await operations.list_sequence_gaps(worker)
        assert (gap.owner, *missing([gap])) == ("acme", (3, 10**15 - 1))
        await draw_cut_off(worker, "test")
        await operations.sum_receipts_to_cut_off(worker)
