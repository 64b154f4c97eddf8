"""A record that the database alone never takes goes aside; a database that takes none keeps all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.replay import replay_quarantine
from ledger.settings import Settings
from ledger.store.operations import count_dead_letters
from ledger.store.queries import Connection
from ledger.stream.consumer import surroundings, work
from ledger.stream.isolation import WITNESSED, Isolation
from tests.stream.test_consumer import produce, settings_for, until_received
from tests.stream.test_isolation import move
from tests.support.database import Database, execute
from tests.support.usage import NOW, attempt, fates, keyed, open_books
from tests.support.waiting import PATIENCE_S

# Deadlocks without end are contention, a cancelled query ends the connection.
BAD = {3: "bad-40P01", 4: "bad-40001", 11: "bad-57014"}
REFUSING = """
CREATE FUNCTION refuse_bad() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.event_id ~ '{which}' THEN
    RAISE EXCEPTION 'not now'
      USING ERRCODE = coalesce(substring(NEW.event_id FROM '^bad-(.*)'), '53100');
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse_bad BEFORE INSERT ON usage_fact FOR EACH ROW EXECUTE FUNCTION refuse_bad();
"""
# A worker that tries again at once and who drops a trigger may wait for one another.
TAKING = """
CREATE OR REPLACE FUNCTION refuse_bad() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'
"""


@asynccontextmanager
async def hasty(settings: Settings) -> AsyncIterator[None]:
    """A worker that tries again at once."""
    stop = asyncio.Event()
    with ThreadPoolExecutor(1) as thread:
        around = replace(surroundings(settings, thread), retry_s=0.02)
        task = asyncio.create_task(work(around, stop))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, PATIENCE_S)


async def test_what_only_one_record_meets_sets_that_record_aside_and_it_comes_back(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    await execute(database.superuser_url, REFUSING.format(which="^bad-"))
    topic = kafka_topic()
    sent = [keyed(attempt(BAD.get(n, f"e{n}"))) for n in range(20)]
    produce(kafka_bootstrap, topic, sent)
    async with hasty(settings_for(database, kafka_bootstrap, topic)):
        await until_received(worker, len(sent))
    assert await fates(worker) == {"received": 20, "counted": 17, "quarantined": 3}
    assert await count_dead_letters(worker) == len(BAD)
    details = await worker.fetch("SELECT quarantine_id, detail FROM quarantine ORDER BY 1")
    assert "UnavailableError" in details[0]["detail"]
    await execute(database.superuser_url, TAKING)
    replayed = await replay_quarantine(
        worker,
        [row["quarantine_id"] for row in details],
        directory=DirectoryCache(),
        now=NOW,
        limits=IngestLimits(),
    )
    assert [one.outcome for one in replayed.values()] == ["created"] * len(BAD)


async def test_a_database_that_takes_nothing_sets_nothing_aside(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    await execute(database.superuser_url, REFUSING.format(which="."))
    topic = kafka_topic()
    produce(kafka_bootstrap, topic, [keyed(attempt(f"e{n}")) for n in range(6)])
    async with hasty(settings_for(database, kafka_bootstrap, topic)):
        # Long enough for each of them to fail alone more often than it takes.
        await asyncio.sleep(6)
        assert await fates(worker) == {}
        await execute(database.superuser_url, TAKING)
        await until_received(worker, 6)
    assert await fates(worker) == {"received": 6, "counted": 6}


def test_a_suspect_is_one_only_while_others_are_taken() -> None:
    isolation, why, moves = Isolation(), OSError("gone"), [move(7, 8)]
    for stored in (True,) * (WITNESSED - 1) + (False,) + (True,) * (WITNESSED - 1):
        isolation.hold(moves, 1, why)
        assert isolation.unheard({0}) == moves
        assert isolation.unheard({1}) == []
        isolation.hear(moves, stored=stored)
        assert not isolation.unheard({0})
        assert not isolation.failed
    isolation.hear(moves, stored=True)
    assert not isolation.failed, "only after it failed again"
    isolation.hold(moves, 1, why)
    isolation.hear(moves, stored=True)
    assert isolation.failed == {(0, 7): why}
    isolation.begin(("cluster", "another topic"))
    assert not isolation.failed


@pytest.mark.parametrize("known", [True, False])
def test_what_is_a_dead_letter_already_is_held_and_not_judged_again(known: bool) -> None:
    isolation = Isolation(failed={(0, 7): ValueError("no")} if known else {})
    isolation.hold([move(7, 8)], 1, OSError("gone"))
    assert bool(isolation.unheard({0})) is not known


def test_every_other_record_is_a_witness_some_time() -> None:
    isolation, others = Isolation(), range(30)
    assert {one for _ in range(9) for one in isolation.witnesses(others)} > {*range(20)}
    assert list(isolation.witnesses([])) == []
