"""Quarantined items are read again from their raw bytes, once, and only while these are kept."""

from datetime import timedelta

import pytest

from ledger.domain.errors import ConflictError, NotFoundError
from ledger.domain.metering.record import Record
from ledger.flows.metering.replay import expire_quarantine, replay_quarantine
from ledger.store.queries import Connection
from tests.support.usage import (
    NOW,
    Event,
    Gate,
    attempt,
    correction,
    keyed,
    open_books,
    sequenced,
    windows,
    windows_of_facts,
)

# An hour ahead of NOW: refused then, and no longer when it is replayed an hour later.
EARLY: Event = attempt("early", tokens=5) | {"time": "2026-08-06T13:00:00Z"}
LATER = NOW + timedelta(hours=2)


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    await open_books(worker)
    return Gate(worker)


async def quarantined(gate: Gate) -> list[int]:
    rows = await gate.connection.fetch("SELECT quarantine_id FROM quarantine ORDER BY 1")
    return [row[0] for row in rows]


async def replay(gate: Gate, *ids: int) -> list[str]:
    found = await replay_quarantine(
        gate.connection, ids, directory=gate.directory, now=LATER, limits=gate.limits
    )
    return [found[one].outcome for one in ids]


async def test_a_replayed_event_counts_once(gate: Gate) -> None:
    await gate.send(keyed(EARLY))
    (waiting,) = await quarantined(gate)
    assert await replay(gate, waiting) == ["created"]
    assert (await windows(gate.connection))[0][5:7] == (1, 5)
    with pytest.raises(ConflictError, match="replayed already"):
        await replay(gate, waiting)
    (again,) = await gate.send(keyed(EARLY), now=LATER)
    assert [item.outcome for item in again.items()] == ["duplicate"]
    assert await windows(gate.connection) == await windows_of_facts(gate.connection)
    changes = await gate.connection.fetch("SELECT from_fate, to_fate FROM fate_change")
    assert [tuple(row) for row in changes] == [("quarantined", "counted")]


async def test_an_event_of_a_numbered_batch_is_replayed_and_corrected_by_its_place(
    gate: Gate,
) -> None:
    await gate.send(sequenced([attempt(tokens=1), EARLY]))
    (waiting,) = await quarantined(gate)
    assert await replay(gate, waiting) == ["created"]
    assert sum(row[6] for row in await windows(gate.connection)) == 6
    mend = sequenced([correction("", of="1.1.1", revision=1, tokens=50)], sequence=2)
    assert await gate.outcomes(mend) == ["created"]
    assert sum(row[6] for row in await windows(gate.connection)) == 51
    assert await windows(gate.connection) == await windows_of_facts(gate.connection)


async def test_a_replayed_original_yields_to_the_correction_that_came_before_it(
    gate: Gate,
) -> None:
    await gate.send(sequenced([EARLY]))
    mend = sequenced([correction("", of="1.1.0", revision=1, tokens=50)], sequence=2)
    assert await gate.outcomes(mend) == ["created"]
    (waiting,) = await quarantined(gate)
    assert await replay(gate, waiting) == ["superseded"]
    assert sum(row[6] for row in await windows(gate.connection)) == 50
    assert await windows(gate.connection) == await windows_of_facts(gate.connection)


async def test_what_is_still_bad_stays_as_it_is(gate: Gate) -> None:
    await gate.send(Record(b'{"half": '), keyed(EARLY))
    bad, early = await quarantined(gate)
    assert await replay(gate, bad, early) == ["rejected", "created"]
    assert await quarantined(gate) == [bad, early]
    assert await replay(gate, bad) == ["rejected"]


async def test_raw_bytes_expire_and_a_cut_item_is_not_replayed(gate: Gate) -> None:
    long = attempt("x", tokens=-1, note="n" * 100_000)
    await gate.send(keyed(EARLY, long))
    early, cut = await quarantined(gate)
    raw = await gate.connection.fetchval("SELECT max(length(raw)) FROM quarantine_raw")
    assert raw == 64 * 1024
    with pytest.raises(ConflictError, match="not kept in full"):
        await replay(gate, cut)
    assert await expire_quarantine(gate.connection, now=NOW + timedelta(days=31)) == 2
    with pytest.raises(ConflictError, match="not kept in full"):
        await replay(gate, early)
    with pytest.raises(NotFoundError):
        await replay(gate, 99)
