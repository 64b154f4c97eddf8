"""A check passes over true books, and names exactly what is not true in others."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.flows.metering.check import CheckReport, CheckSizes, check_windows
from ledger.flows.metering.release import release_suspense
from ledger.store.connect import connect
from ledger.store.metering.check import read_activity_sums, read_mark_sums, read_usage_sums
from ledger.store.queries import Connection
from tests.flows.test_ingest_order import in_some_order, some_events
from tests.support.database import Database, empty
from tests.support.examples import at_depth
from tests.support.usage import (
    NOW,
    Gate,
    add_customer,
    attempt,
    correction,
    keyed,
    open_books,
    sequenced,
)

WINDOW = datetime(2026, 8, 6, 11, tzinfo=UTC)
EARLIER = datetime(2026, 8, 6, 10, 45, tzinfo=UTC)


@pytest.fixture
async def readers(database: Database) -> AsyncIterator[list[Connection]]:
    """Connections to check over, as the command opens them."""
    connections: list[Connection] = [await connect(database.worker_url) for _ in range(3)]
    yield connections
    for connection in connections:
        await connection.close()


@pytest.fixture
async def books(worker: Connection) -> Gate:
    """One attempt of 40 s that ended at 11:00:30, on engine pod-1."""
    await open_books(worker)
    gate = Gate(worker)
    one = attempt(
        "a",
        started_at="2026-08-06T10:59:50Z",
        first_token_at="2026-08-06T11:00:00Z",
        engine={"instance": "pod-1"},
    )
    await gate.send(keyed(one))
    return gate


async def difference(readers: list[Connection]) -> dict[str, Any]:
    """The only difference there is."""
    found = await check_windows(readers)
    assert found.differing == 1, found.differences
    return dict(found.differences[0])


def is_equal(found: CheckReport, facts: int) -> bool:
    return (found.facts, found.differing, list(found.differences)) == (facts, 0, [])


EDGES = (-(2**63), 1 - 2**63, -(2**32) - 1, -(2**31), -1, 0, 1, 2**31, 2**32 - 1, 2**63 - 1)
COUNTS = st.one_of(st.sampled_from(EDGES), st.integers(-(2**63), 2**63 - 1))


@settings(max_examples=at_depth(20))
@given(counts=st.lists(COUNTS, min_size=1, max_size=20))
async def test_stored_sums_of_any_counts_are_whole(
    database: Database, superuser: Connection, counts: list[int]
) -> None:
    await empty(database, "usage_delta, activity, usage_mark")
    each = "unnest($1::bigint[]) AS n"
    await superuser.execute(
        f"INSERT INTO usage_delta SELECT 'a', 1, $2, 1, n, 0, 0, 0, 0, n FROM {each}",
        counts,
        WINDOW,
    )
    await superuser.execute(
        f"""INSERT INTO activity SELECT 1, $2, 1, ARRAY[1], ARRAY[n], ARRAY[0], ARRAY[0], ARRAY[n]
              FROM {each}""",
        counts,
        WINDOW,
    )
    await superuser.execute(
        f"INSERT INTO usage_mark SELECT 'a', 1, $2, 1, n, 0, 0, 0, 0, 0, n FROM {each}",
        counts,
        WINDOW,
    )
    for read, first, last in (
        (read_usage_sums, "requests", "reasoning"),
        (read_activity_sums, "uncached", "output"),
        (read_mark_sums, "estimated", "reasoning_unknown"),
    ):
        sums = await read(superuser, batch_seq=1)
        assert sums.select(first, last).rows() == [(sum(counts), sum(counts))]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_was_ingested_in_whatever_order_is_equal(
    worker: Connection, readers: list[Connection], seed: int
) -> None:
    chance = random.Random(seed)
    await open_books(worker)
    gate = Gate(worker)
    for call in in_some_order(some_events(chance), chance):
        await gate.send(*call)
    await add_customer(worker, "globex")
    assert await release_suspense(worker, None, directory=gate.directory, now=NOW) > 0
    last = [attempt(), attempt(minute=20)]
    for event in last:
        event["data"]["usage"] |= {"complete": False}
    await gate.send(sequenced(last))
    facts = await worker.fetchval("SELECT count(*) FROM usage_fact")
    found = await check_windows(readers)
    assert is_equal(found, facts)
    assert min(found.windows.values()) > 1


async def test_a_check_over_one_connection_finds_the_same(books: Gate) -> None:
    found = await check_windows([books.connection])
    assert is_equal(found, 1)
    assert found.windows == {
        "usage_delta": 1,
        "activity_delta": 2,
        "activity_mask": 2,
        "usage_mark": 0,
    }


async def test_nothing_stored_is_equal(readers: list[Connection]) -> None:
    assert is_equal(await check_windows(readers), 0)


async def test_a_changed_usage_delta_is_named(
    books: Gate, readers: list[Connection], superuser: Connection
) -> None:
    await superuser.execute("UPDATE usage_delta SET visible = visible + 1")
    found = await difference(readers)
    assert (found["table"], found["window_start"]) == ("usage_delta", WINDOW)
    assert (found["customer_ref"], found["model"], found["tier"]) == ("acme", "llama", "standard")
    assert found["counts"] == {"visible": {"facts": 20, "stored": 21}}


async def test_a_usage_delta_of_another_customer_than_its_key_is_named(
    books: Gate, readers: list[Connection], superuser: Connection
) -> None:
    await superuser.execute("UPDATE usage_delta SET customer_id = 'globex'")
    found = await difference(readers)
    assert (found["table"], found["customer_ref"]) == ("usage_delta", "acme")
    assert found["counts"] == {"customer_id": {"facts": "acme", "stored": "globex"}}


async def test_a_missing_activity_delta_is_named(
    books: Gate, readers: list[Connection], superuser: Connection
) -> None:
    deleted = await superuser.execute("DELETE FROM activity WHERE window_start = $1", EARLIER)
    assert deleted == "DELETE 1"
    found = await difference(readers)
    assert (found["table"], found["window_start"]) == ("activity_delta", EARLIER)
    assert (found["engine_instance"], found["customer_ref"]) == ("pod-1", "acme")
    assert found["counts"] == {"uncached": {"facts": 10, "stored": None}}


async def test_an_activity_delta_without_facts_is_named(
    books: Gate, readers: list[Connection], superuser: Connection
) -> None:
    await superuser.execute(
        """INSERT INTO activity
           SELECT engine_key_id, window_start + interval '1 hour', batch_seq, usage_key_ids,
                  ARRAY[0], ARRAY[0], ARRAY[7], ARRAY[0] FROM activity WHERE window_start = $1""",
        WINDOW,
    )
    found = await difference(readers)
    assert (found["table"], found["window_start"].hour) == ("activity_delta", 12)
    assert found["counts"] == {"cache_write": {"facts": None, "stored": 7}}


async def test_a_second_made_idle_and_a_second_made_busy_are_named(
    books: Gate, readers: list[Connection], superuser: Connection
) -> None:
    flipped = "UPDATE activity_mask SET mask = set_bit(mask, $1, $2) WHERE window_start = $3"
    await superuser.execute(flipped, 7, 0, WINDOW)
    found = await difference(readers)
    assert (found["table"], found["window_start"]) == ("activity_mask", WINDOW)
    assert found["engine_instance"] == "pod-1"
    assert found["counts"] == {"busy_seconds": {"facts": 30, "stored": 29}}
    assert found["seconds"] == {"differing": 1, "first": [7]}
    await superuser.execute(flipped, 899, 1, WINDOW)
    found = await difference(readers)
    assert found["counts"] == {"busy_seconds": {"facts": 30, "stored": 30}}
    assert found["seconds"] == {"differing": 2, "first": [7, 899]}


async def test_a_fact_put_in_by_hand_is_named_in_every_table_it_belongs_to(
    books: Gate, readers: list[Connection], superuser: Connection
) -> None:
    await superuser.execute(
        """INSERT INTO usage_fact (stored_day, lane, batch_seq, ordinal, kind, flags, source_id,
                  usage_key_id, engine_key_id, time, started_at, requests, uncached, cache_read,
                  cache_write, visible, reasoning)
           SELECT stored_day, lane, batch_seq, 99, 1, 0, source_id, usage_key_id, engine_key_id,
                  $1::timestamptz + interval '700 s', $1, 1, 5, 0, 0, 0, 0 FROM usage_fact""",
        WINDOW,
    )
    found = await check_windows(readers)
    assert (found.facts, found.differing) == (2, 3)
    told = [(one["table"], one["window_start"], one["counts"]) for one in found.differences]
    assert told == [
        (
            "usage_delta",
            WINDOW,
            {"requests": {"facts": 2, "stored": 1}, "uncached": {"facts": 15, "stored": 10}},
        ),
        ("activity_delta", WINDOW, {"uncached": {"facts": 5, "stored": 0}}),
        ("activity_mask", WINDOW, {"busy_seconds": {"facts": 700, "stored": 30}}),
    ]
    assert found.differences[2]["seconds"] == {"differing": 670, "first": list(range(30, 40))}


async def test_a_fact_taken_away_is_named(
    books: Gate, readers: list[Connection], superuser: Connection
) -> None:
    await books.send(keyed(attempt("b", minute=50, tokens=3)))
    await superuser.execute("DELETE FROM usage_fact WHERE event_id = 'b'")
    found = await check_windows(readers)
    assert {one["table"] for one in found.differences} == set(found.windows) - {"usage_mark"}
    usage = next(one for one in found.differences if one["table"] == "usage_delta")
    assert usage["counts"]["uncached"] == {"facts": None, "stored": 3}


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ("UPDATE usage_mark SET estimated = 5", {"estimated": (2, 5)}),
        ("UPDATE usage_fact SET flags = flags | 8", {"input_unknown": (2, 0)}),
        ("UPDATE usage_fact SET flags = 0", {"estimated": (None, 2), "incomplete": (None, 2)}),
        ("DELETE FROM usage_mark", {"estimated": (2, None), "incomplete": (2, None)}),
    ],
)
async def test_marks_that_are_not_those_of_the_facts_are_named(
    books: Gate,
    readers: list[Connection],
    superuser: Connection,
    change: str,
    counts: dict[str, tuple[int | None, int | None]],
) -> None:
    event = attempt("m", minute=50, requests=2)
    event["data"]["usage"] |= {"source": "char_estimate", "complete": False}
    await books.send(keyed(event))
    assert is_equal(await check_windows(readers), 2)
    await superuser.execute(change + (" WHERE event_id = 'm'" if "usage_fact" in change else ""))
    found = await difference(readers)
    assert (found["table"], found["usage_key_id"] != 0) == ("usage_mark", True)
    assert found["counts"] == {
        name: {"facts": facts, "stored": stored} for name, (facts, stored) in counts.items()
    }


async def test_seconds_of_every_version_of_an_attempt_are_busy(
    books: Gate, readers: list[Connection]
) -> None:
    shorter = correction("c", of="a", revision=1, started_at="2026-08-06T11:00:20Z")
    await books.send(keyed(shorter | {"data": shorter["data"] | {"engine": {"instance": "pod-1"}}}))
    found = await check_windows(readers)
    assert is_equal(found, 3)
    assert found.windows["activity_mask"] == 2


async def test_a_batch_in_flight_is_not_looked_at(
    books: Gate, readers: list[Connection], database: Database, superuser: Connection
) -> None:
    slow = await connect(database.worker_url)
    try:
        async with slow.transaction():
            await slow.fetchval("SELECT draw_batch_seq()")
            await books.send(keyed(attempt("later", minute=40)))
            await superuser.execute("UPDATE usage_fact SET visible = 1 WHERE event_id = 'later'")
            assert is_equal(await check_windows(readers), 1)
        assert (await check_windows(readers)).differing == 2
    finally:
        await slow.close()


async def test_differences_beyond_those_named_are_counted(
    books: Gate, readers: list[Connection], superuser: Connection
) -> None:
    events = [attempt(f"m{n}", minute=20, customer_id=f"customer-{n}") for n in range(9)]
    await books.send(keyed(*events))
    await superuser.execute("DELETE FROM usage_delta")
    found = await check_windows(readers, sizes=CheckSizes(named=4))
    assert (found.differing, len(found.differences)) == (10, 4)
