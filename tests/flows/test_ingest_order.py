"""Order, batching, repetition and other writers change nothing."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from ledger.domain.metering.record import Record
from ledger.flows.metering.ingest import ingest
from ledger.store.connect import connect, draw_batch_seq, draw_cut_off
from ledger.store.queries import Connection
from tests.support.database import Database
from tests.support.usage import (
    NOW,
    Event,
    Gate,
    activity,
    attempt,
    correction,
    fates,
    keyed,
    open_books,
    sequenced,
    windows,
    windows_of_facts,
)


def some_events(chance: random.Random) -> list[Event]:
    """Attempts of known and unknown customers over an hour, some of them corrected."""
    events = []
    for n in range(25):
        name = f"e{n}"
        said: dict[str, Any] = {
            "minute": chance.randrange(60),
            "tokens": chance.randrange(1, 100),
            "customer_id": chance.choice(["acme", "globex"]),
            "started_at": f"2026-08-06T10:{chance.randrange(60):02}:00Z",
            "engine": {"instance": chance.choice(["pod-1", "pod-2"])},
        }
        events.append(attempt(name, **said))
        for revision in range(1, chance.choice([1, 1, 2, 3])):
            said["tokens"] = chance.randrange(1, 100)
            events.append(correction(f"{name}.{revision}", of=name, revision=revision, **said))
    return events


def in_some_order(events: list[Event], chance: random.Random) -> list[list[Record]]:
    """The events, some twice, cut into records and calls at random."""
    sent = events + chance.sample(events, 8)
    chance.shuffle(sent)
    calls: list[list[Record]] = []
    while sent:
        records = []
        for _ in range(chance.randrange(1, 4)):
            size = chance.randrange(1, 8)
            records.append(keyed(*sent[:size]))
            sent = sent[size:]
        calls.append([record for record in records if record.body])
    return calls


def rules_of(events: list[Event]) -> dict[str, int]:
    """The truth, told naively: the highest revision of each attempt counts."""
    last: dict[str, Event] = {}
    for event in sorted(events, key=lambda e: e["data"].get("revision", 0)):
        last[event["data"].get("supersedes", event["id"])] = event
    sums: dict[str, int] = {}
    for event in last.values():
        who = event["data"]["customer_id"]
        sums[who] = sums.get(who, 0) + event["data"]["usage"]["input"]["uncached"]
    return sums


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_batching_and_repetition_gives_the_same_windows(
    worker: Connection, seed: int
) -> None:
    chance = random.Random(seed)
    events = some_events(chance)
    await open_books(worker)
    gate = Gate(worker)
    for call in in_some_order(events, chance):
        await gate.send(*call)
    found = await windows(worker)
    assert await windows_of_facts(worker) == found
    sums: dict[str, int] = {}
    for row in found:
        sums[row[1]] = sums.get(row[1], 0) + int(row[6])
    assert sums == rules_of(events)
    worked: dict[str, int] = {}
    for row in await activity(worker):
        worked[row[3]] = worked.get(row[3], 0) + int(row[5])
    assert worked == sums


async def test_a_missing_number_is_a_gap_that_closes(worker: Connection) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await gate.send(sequenced([attempt()], sequence=3), sequenced([attempt()], sequence=1))
    missing = """SELECT n FROM generate_series(1, (SELECT max(sequence) FROM ingest_batch)) n
                  WHERE n NOT IN (SELECT sequence FROM ingest_batch)"""
    assert [row[0] for row in await worker.fetch(missing)] == [2]
    await gate.send(sequenced([attempt()], sequence=2))
    assert await worker.fetch(missing) == []


async def test_a_batch_held_open_is_behind_no_cut_off(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    slow, other = await connect(database.worker_url), await connect(database.worker_url)
    try:
        transaction = slow.transaction()
        await transaction.start()
        held = await draw_batch_seq(slow)
        await Gate(other).send(keyed(attempt("b")))
        early = await draw_cut_off(worker, "test")
        assert early.batch_seq == held - 1
        seen = "SELECT count(*) FROM usage_delta WHERE batch_seq <= $1"
        assert await worker.fetchval(seen, early.batch_seq) == 0
        await transaction.commit()
        late = await draw_cut_off(worker, "test")
        assert late.batch_seq > held
        assert await worker.fetchval(seen, late.batch_seq) == 1
    finally:
        await slow.close()
        await other.close()


async def test_writers_of_the_same_events_neither_wait_for_ever_nor_count_twice(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    events = [attempt(f"e{n}", tokens=n + 1) for n in range(40)]
    mends = [correction(f"c{n}", of=f"e{n}", revision=1, tokens=1_000) for n in range(0, 40, 2)]
    numbered = [
        sequenced([attempt()], sequence=1),
        sequenced([correction("", of="1.1.0", revision=1, tokens=5_000)], sequence=2),
    ]

    async def write(seed: int) -> None:
        connection = await connect(database.worker_url)
        chance = random.Random(seed)
        sent = [[keyed(event)] for event in [*events, *mends]] + [[one] for one in numbered]
        chance.shuffle(sent)
        try:
            for call in sent:
                await ingest(
                    connection,
                    call,
                    directory=gates[seed].directory,
                    now=NOW + timedelta(seconds=seed),
                    limits=gates[seed].limits,
                )
        finally:
            await connection.close()

    gates = {seed: Gate(worker) for seed in range(4)}
    await asyncio.gather(*(write(seed) for seed in gates))
    found = await windows(worker)
    assert await windows_of_facts(worker) == found
    odd = sum(n + 1 for n in range(1, 40, 2))
    assert sum(row[6] for row in found) == odd + 20 * 1_000 + 5_000
    assert (await fates(worker))["received"] == 4 * 62
