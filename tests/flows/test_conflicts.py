"""A conflict keeps what both sides said, until somebody says which of them it was."""

from datetime import timedelta
from typing import Any

import pytest

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.domain.metering.record import Record
from ledger.flows.metering.conflicts import Resolution, resolve_conflict, show_conflict
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.replay import expire_quarantine
from ledger.store.metering.conflicts import (
    StoredReading,
    StoredUsage,
    count_conflicts,
    list_conflicts,
)
from ledger.store.queries import Connection
from tests.support.usage import (
    NOW,
    SOURCE,
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
from tests.wire.samples import energy_event

AUTHOR = Author("cli:ann", "the provider used its id twice", "r1")


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    await open_books(worker)
    return Gate(worker)


async def waiting(gate: Gate) -> list[int]:
    return [row.conflict_id for row in await list_conflicts(gate.connection, rows=99)]


async def resolve(
    gate: Gate, conflict_id: int, how: Resolution, *, event_id: str | None = None
) -> list[str]:
    outcomes = await resolve_conflict(
        gate.connection,
        conflict_id,
        how,
        AUTHOR,
        event_id=event_id,
        directory=gate.directory,
        now=NOW,
        limits=gate.limits,
    )
    return [one.outcome for one in outcomes]


async def uncached(gate: Gate) -> int:
    found = await windows(gate.connection)
    assert found == await windows_of_facts(gate.connection)
    return sum(row[6] for row in found)


async def conflict_of(gate: Gate, *records: Record) -> int:
    assert "conflict" in await gate.outcomes(*records)
    (conflict_id,) = await waiting(gate)
    return conflict_id


async def test_both_sides_are_shown_and_one_is_kept(gate: Gate) -> None:
    await gate.send(keyed(attempt("x", tokens=10, end_user_id="ann")))
    other = attempt("x", tokens=70, minute=9, served_model="other", end_user_id="ann")
    conflict_id = await conflict_of(gate, keyed(other))
    shown = await show_conflict(gate.connection, conflict_id)
    (stored,), (offered,) = shown.stored, shown.offered or ()
    assert isinstance(stored, StoredUsage)
    assert (stored.event_id, stored.model, stored.uncached) == ("x", "llama", 10)
    assert offered["data"]["served_model"] == "other"
    assert offered["data"]["usage"]["input"]["uncached"] == 70
    assert offered["time"] == "2026-08-06T11:09:30.000000Z"
    assert "'ann'" not in str(shown)
    assert await resolve(gate, conflict_id, "kept") == []
    assert (await waiting(gate), await count_conflicts(gate.connection)) == ([], 0)
    assert await uncached(gate) == 10
    (row,) = await list_conflicts(gate.connection, rows=9, resolved=True)
    assert (row.resolution, row.resolved_by) == ("kept", "cli:ann")
    assert row.reason == "the provider used its id twice"
    with pytest.raises(ConflictError, match="resolved as kept"):
        await resolve(gate, conflict_id, "corrected")


async def test_of_a_source_and_day_so_much_is_kept_and_the_rest_is_named(
    worker: Connection,
) -> None:
    await open_books(worker)
    gate = Gate(worker, IngestLimits(offered_of_source=3))
    await gate.send(keyed(*(attempt(f"x{n}", tokens=1) for n in range(5))))
    batches = [[attempt(tokens=n + k) for k in range(4)] for n in (1, 2)]
    for one in batches:
        await gate.send(sequenced(one))
    for n in range(5):
        await gate.send(keyed(attempt(f"x{n}", tokens=2)))
    rows = await list_conflicts(worker, rows=99)
    said = [(row.source, row.items, row.offer_kept) for row in reversed(rows)]
    assert said == [("/hosts/a", 4, True)] + [(SOURCE, 1, n < 3) for n in range(5)]
    assert (await show_conflict(worker, rows[0].conflict_id)).offered is None
    tomorrow = NOW + timedelta(days=1, seconds=1)
    await gate.send(keyed(attempt("x4", tokens=3)), now=tomorrow)
    assert (await list_conflicts(worker, rows=1))[0].offer_kept


async def test_what_was_offered_can_replace_what_is_stored(gate: Gate) -> None:
    await gate.send(keyed(attempt("x", tokens=10)))
    await gate.send(keyed(correction("x.1", of="x", revision=4, tokens=11)))
    conflict_id = await conflict_of(gate, keyed(attempt("x", tokens=70)))
    assert await resolve(gate, conflict_id, "corrected") == ["created"]
    assert await uncached(gate) == 70


async def test_what_was_offered_can_count_under_an_id_of_its_own(gate: Gate) -> None:
    await gate.send(keyed(attempt("x", tokens=10), attempt("taken", tokens=1)))
    conflict_id = await conflict_of(gate, keyed(attempt("x", tokens=70)))
    with pytest.raises(InvalidInputError, match="id"):
        await resolve(gate, conflict_id, "resent")
    with pytest.raises(InvalidInputError, match="x is the id that is taken"):
        await resolve(gate, conflict_id, "resent", event_id="x")
    assert await waiting(gate) == [conflict_id], "and nothing was sent"
    with pytest.raises(InvalidInputError, match="taken is an id that is taken"):
        await resolve(gate, conflict_id, "resent", event_id="taken")
    assert await waiting(gate) == [conflict_id], "refused, it still waits, and nothing was sent"
    assert await resolve(gate, conflict_id, "resent", event_id="x-2") == ["created"]
    assert await uncached(gate) == 81


async def test_a_correction_is_no_other_one_under_another_id(gate: Gate) -> None:
    await gate.send(keyed(attempt("x", tokens=10)))
    await gate.send(keyed(correction("x.1", of="x", revision=1, tokens=11)))
    conflict_id = await conflict_of(gate, keyed(correction("x.2", of="x", revision=1, tokens=12)))
    with pytest.raises(ConflictError, match="by no id"):
        await resolve(gate, conflict_id, "resent", event_id="x.3")
    assert await waiting(gate) == [conflict_id], "and nothing was sent"
    assert await resolve(gate, conflict_id, "corrected") == ["created"]
    assert await uncached(gate) == 12


def batch(*tokens: int, sequence: int = 1) -> Record:
    return sequenced([attempt(tokens=n) for n in tokens], sequence=sequence)


@pytest.mark.parametrize(
    ("how", "event_id", "total"), [("kept", None, 3), ("corrected", None, 30), ("resent", "n", 33)]
)
async def test_a_numbered_batch_is_resolved_event_by_event(
    gate: Gate, how: Resolution, event_id: str | None, total: int
) -> None:
    await gate.send(batch(1, 2))
    conflict_id = await conflict_of(gate, batch(10, 20))
    shown = await show_conflict(gate.connection, conflict_id)
    assert [each.uncached for each in shown.stored if isinstance(each, StoredUsage)] == [1, 2]
    assert [_tokens(event) for event in shown.offered or ()] == [10, 20]
    assert shown.conflict.items == 2
    await resolve(gate, conflict_id, how, event_id=event_id)
    assert await uncached(gate) == total


async def test_a_revision_that_met_another_can_be_resolved(gate: Gate) -> None:
    await gate.send(keyed(attempt("x", tokens=1)))
    await gate.send(keyed(correction("x.1", of="x", revision=1, tokens=2)))
    other = correction("x.1b", of="x", revision=1, tokens=50)
    conflict_id = await conflict_of(gate, keyed(other))
    assert await resolve(gate, conflict_id, "corrected") == ["created"]
    assert await uncached(gate) == 50


async def test_a_reading_can_be_shown_and_kept_and_not_corrected(gate: Gate) -> None:
    await gate.send(keyed(energy_event()))
    conflict_id = await conflict_of(gate, keyed(energy_event(energy_mj=5)))
    shown = await show_conflict(gate.connection, conflict_id)
    assert isinstance(shown.stored[0], StoredReading)
    assert shown.stored[0].energy_mj == 123_456_789
    assert (shown.offered or ())[0]["data"]["energy_mj"] == 5
    with pytest.raises(ConflictError, match="usage"):
        await resolve(gate, conflict_id, "corrected")
    await resolve(gate, conflict_id, "kept")


async def test_what_was_offered_expires_and_the_conflict_stays(gate: Gate) -> None:
    await gate.send(keyed(attempt("x", tokens=10)))
    conflict_id = await conflict_of(gate, keyed(attempt("x", tokens=70)))
    assert await expire_quarantine(gate.connection, now=NOW + timedelta(days=29)) == 0
    assert await expire_quarantine(gate.connection, now=NOW + timedelta(days=31)) == 1
    assert (await show_conflict(gate.connection, conflict_id)).offered is None
    with pytest.raises(ConflictError, match="not kept"):
        await resolve(gate, conflict_id, "corrected")
    with pytest.raises(NotFoundError):
        await show_conflict(gate.connection, conflict_id + 1)
    await resolve(gate, conflict_id, "kept")


def _tokens(event: Any) -> int:
    found: Event = event
    return int(found["data"]["usage"]["input"]["uncached"])
