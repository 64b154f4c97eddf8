"""Bodies that wait together are stored together, and fare as if they had come alone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ledger import clock
from ledger.api.intake import BodyIntake, open_intake
from ledger.domain.metering.fact import Fate, Reason
from ledger.domain.metering.key import usage_key
from ledger.domain.metering.record import ItemOutcome, Record
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.replay import replay_quarantine
from ledger.flows.metering.resolve import KeyCollisionError
from ledger.store.metering.ingest import insert_usage_keys
from ledger.store.operations import count_dead_letters
from ledger.store.queries import Connection
from tests.support.database import Database, execute
from tests.support.usage import (
    SOURCE,
    attempt,
    bound_to,
    fates,
    keyed,
    open_books,
    windows,
    windows_of_facts,
)

POISON = "ALTER TABLE usage_key ADD CONSTRAINT poison CHECK (project_id <> 'poison') NOT VALID"
REASONS = "SELECT reason, count(*) FROM quarantine GROUP BY 1 ORDER BY 1"


@pytest.fixture
async def intake(database: Database, worker: Connection) -> AsyncIterator[BodyIntake]:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    async with open_intake(database.worker_url, IngestLimits()) as opened:
        yield opened


async def test_each_body_has_its_own_outcome(intake: BodyIntake, worker: Connection) -> None:
    bodies = [keyed(attempt(f"e{n}"), attempt(f"e{n}b")) for n in range(30)]
    bodies[7] = Record(b"{nothing")
    bodies[8] = keyed(attempt("e3"), attempt("new"))
    found = await asyncio.gather(*(intake.store(body) for body in bodies))
    assert [outcome.received for outcome in found] == [1 if n == 7 else 2 for n in range(30)]
    assert found[7].counts[Fate.QUARANTINED] == 1
    assert sum(outcome.counts[Fate.DUPLICATE] for outcome in found) == 1
    assert await fates(worker) == {"received": 59, "counted": 57, "duplicate": 1, "quarantined": 1}
    assert await windows(worker) == await windows_of_facts(worker)
    # Far fewer transactions than bodies: those that waited went in together.
    assert await worker.fetchval("SELECT count(DISTINCT batch_seq) FROM receipt") < 10


async def test_who_comes_as_a_batch_ends_is_stored(intake: BodyIntake, worker: Connection) -> None:
    async with asyncio.timeout(30):
        for n in range(30):
            assert (await intake.store(keyed(attempt(f"e{n}")))).counts[Fate.COUNTED] == 1

    async def one_after_another(sender: int) -> None:
        for n in range(10):
            await intake.store(keyed(attempt(f"s{sender}-{n}")))

    async with asyncio.timeout(60):
        await asyncio.gather(*map(one_after_another, range(5)))
    assert await fates(worker) == {"received": 80, "counted": 80}
    # Whoever was just answered is stored with those that waited meanwhile.
    assert await worker.fetchval("SELECT count(DISTINCT batch_seq) FROM receipt") < 30 + 40


async def test_one_who_gives_up_takes_nobody_along(intake: BodyIntake, worker: Connection) -> None:
    storing = [asyncio.create_task(intake.store(keyed(attempt(f"e{n}")))) for n in range(20)]
    await asyncio.sleep(0)
    for gone in storing[::2]:
        gone.cancel()
    found = await asyncio.gather(*storing[1::2])
    assert [one.counts[Fate.COUNTED] for one in found] == [1] * 10
    # Of the others some were taken before they gave up.
    assert 10 <= (await fates(worker))["counted"] <= 20


async def test_what_was_taken_is_stored_when_it_ends(
    database: Database, worker: Connection
) -> None:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    async with open_intake(database.worker_url, IngestLimits()) as intake:
        storing = [asyncio.create_task(intake.store(keyed(attempt(f"e{n}")))) for n in range(20)]
        await asyncio.sleep(0)
    await asyncio.gather(*storing)
    assert [one.result().received for one in storing] == [1] * 20
    assert (await fates(worker))["counted"] == 20


async def test_a_body_that_cannot_be_stored_fails_alone(
    intake: BodyIntake, worker: Connection
) -> None:
    row = await _key_of(intake, worker)
    other = usage_key(
        entity_id=row["entity_id"],
        customer_id="acme",
        who=("acme", "collides", "", ""),
        tier=row["tier"],
        what=("llama", "", ""),
        context_band=0,
    )
    # Another key under the same hash, as chance would have it once in a world.
    await insert_usage_keys(worker, [replace(other, model="another")])
    bodies = [keyed(attempt(f"x{n}")) for n in range(6)]
    bodies[2] = keyed(attempt("x2", project_id="collides"))
    found = await asyncio.gather(*map(intake.store, bodies))
    assert [one.counts[Fate.COUNTED] for one in found] == [1, 1, 0, 1, 1, 1]
    (item,) = found[2].items()
    assert (item.outcome, item.reason) == ("rejected", Reason.UNSTORABLE)
    assert KeyCollisionError.__name__ in item.detail
    assert await count_dead_letters(worker) == 1


async def test_what_the_database_refuses_goes_aside_and_comes_back_with_the_rights_it_had(
    intake: BodyIntake, worker: Connection, database: Database
) -> None:
    await intake.store(keyed(attempt("first")))
    await execute(database.superuser_url, POISON)
    allowed = bound_to([SOURCE])
    poison = replace(
        keyed(
            attempt("p1", project_id="poison"),
            attempt("p2", project_id="poison") | {"source": "/of/another"},
        ),
        permission=allowed,
    )
    bodies = [keyed(attempt(f"good{n}")) for n in range(40)]
    bodies.insert(20, poison)
    found = await asyncio.gather(*map(intake.store, bodies))
    assert [one.counts[Fate.COUNTED] for one in found] == [1] * 20 + [0] + [1] * 20
    assert await fates(worker) == {"received": 42, "counted": 41, "quarantined": 1}
    row = await worker.fetchrow("SELECT * FROM quarantine")
    assert row is not None
    assert (row["reason"], row["source"]) == ("unstorable", "")

    async def replay() -> ItemOutcome:
        done = await replay_quarantine(
            worker,
            [row["quarantine_id"]],
            directory=DirectoryCache(),
            now=clock.now(),
            limits=intake.limits,
        )
        return done[row["quarantine_id"]]

    # What stops it is still there: it stays where it is.
    assert (await replay()).reason == Reason.UNSTORABLE
    assert await count_dead_letters(worker) == 1
    await execute(database.superuser_url, "ALTER TABLE usage_key DROP CONSTRAINT poison")
    assert (await replay()).outcome == "created"
    assert await count_dead_letters(worker) == 0
    # The key that sent it may not write the source of its second event.
    assert [tuple(row) for row in await worker.fetch(REASONS)] == [
        ("forbidden_source", 1),
        ("unstorable", 1),
    ]
    assert await fates(worker) == {"received": 44, "counted": 42, "quarantined": 2}
    assert await windows(worker) == await windows_of_facts(worker)


async def _key_of(intake: BodyIntake, worker: Connection) -> "dict[str, str]":
    await intake.store(keyed(attempt("first")))
    row = await worker.fetchrow("SELECT entity_id, tier FROM usage_key")
    assert row is not None
    return dict(row)
