"""A correction replaces by revision, whichever of it and its original comes first."""

import asyncio
from itertools import permutations

import pytest

from ledger.domain.fact import Reason
from ledger.domain.ingest.record import Record
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.support.database import Database
from tests.support.usage import (
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
from tests.torture.gates import gate_at


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    await open_books(worker)
    return Gate(worker)


ORIGINAL = attempt("a", tokens=10)
FIRST = correction("a.1", of="a", revision=1, tokens=20)
SECOND = correction("a.2", of="a", revision=2, tokens=30, minute=40)


@pytest.mark.parametrize("order", list(permutations([ORIGINAL, FIRST, SECOND])))
@pytest.mark.parametrize("together", [True, False])
async def test_the_highest_revision_stands_in_any_order(
    gate: Gate, order: tuple[dict[str, object], ...], together: bool
) -> None:
    sent = [keyed(*order)] if together else [keyed(event) for event in order]
    for record in sent:
        await gate.send(record)
    (window,) = found = await windows(gate.connection)
    assert window[4].minute == 30
    assert window[5:8] == (1, 30, 60)
    assert await windows_of_facts(gate.connection) == found
    assert [row[5:] for row in await activity(gate.connection)] == [(30, 60)]
    for record in sent:
        assert set(await gate.outcomes(record)) == {"duplicate"}
    assert await windows(gate.connection) == found


@pytest.mark.parametrize("turned", [False, True])
async def test_an_id_that_looks_like_a_place_is_an_id(gate: Gate, turned: bool) -> None:
    sent = [attempt("a/1/2/3", tokens=10), correction("c", of="a/1/2/3", revision=1, tokens=20)]
    for event in reversed(sent) if turned else sent:
        await gate.send(keyed(event))
    (window,) = found = await windows(gate.connection)
    assert window[5:8] == (1, 20, 40)
    assert await windows_of_facts(gate.connection) == found


@pytest.mark.parametrize("order", [(FIRST, SECOND), (SECOND, FIRST)], ids=["1, 2", "2, 1"])
async def test_the_highest_revision_stands_when_two_writers_bring_them_at_once(
    gate: Gate, database: Database, order: tuple[dict[str, object], ...]
) -> None:
    await gate.send(keyed(ORIGINAL))
    writers = [Gate(await connect(database.worker_url)) for _ in order]
    async with gate_at(database.superuser_url, "receipt") as held:
        sending = []
        for writer, event in zip(writers, order, strict=True):
            sending.append(asyncio.create_task(writer.send(keyed(event))))
            while not await held.watcher.fetchval(WAITS, writer.connection.get_server_pid()):
                await asyncio.sleep(0.01)
    await asyncio.gather(*sending)
    for writer in writers:
        await writer.connection.close()
    (window,) = found = await windows(gate.connection)
    assert window[5:8] == (1, 30, 60)
    assert await windows_of_facts(gate.connection) == found
    replaced = await gate.connection.fetch("SELECT fact_batch_seq, fact_ordinal FROM fate_change")
    assert len(replaced) == len(set(replaced))


WAITS = "SELECT cardinality(pg_blocking_pids($1)) > 0"


async def test_another_correction_of_the_same_revision_is_a_conflict(gate: Gate) -> None:
    await gate.send(keyed(ORIGINAL, FIRST))
    other = correction("b.1", of="a", revision=1, tokens=99)
    again = FIRST | {"id": "c.1"}
    assert await gate.outcomes(keyed(other, again)) == ["conflict", "duplicate"]
    assert (await windows(gate.connection))[0][5:7] == (1, 20)
    late = correction("b.1", of="a", revision=5, tokens=7)
    assert await gate.outcomes(keyed(late)) == ["created"]


async def test_a_refused_revision_fares_the_same_sent_together_or_apart(gate: Gate) -> None:
    await gate.send(keyed(ORIGINAL), keyed(correction("c1", of="a", revision=1, tokens=20)))
    rival = correction("c2", of="a", revision=1, tokens=30)
    assert await gate.outcomes(keyed(rival, rival)) == ["conflict", "conflict"]
    assert await gate.outcomes(keyed(rival)) == ["conflict"]
    assert (await fates(gate.connection))["conflict"] == 3


async def test_a_late_original_counts_once_and_conflicts_once(gate: Gate) -> None:
    await gate.send(keyed(FIRST))
    assert await gate.outcomes(keyed(ORIGINAL)) == ["superseded"]
    other = attempt("a", tokens=11)
    assert await gate.outcomes(keyed(ORIGINAL, other)) == ["duplicate", "conflict"]
    assert (await windows(gate.connection))[0][5:7] == (1, 20)
    assert await fates(gate.connection) == {
        "received": 4,
        "counted": 1,
        "superseded": 1,
        "duplicate": 1,
        "conflict": 1,
    }


@pytest.mark.parametrize("correction_first", [True, False])
@pytest.mark.parametrize("of", ["1.1.1", "p1/1/1/1"])
async def test_an_event_of_a_numbered_batch_is_corrected_by_its_place(
    gate: Gate, correction_first: bool, of: str
) -> None:
    batch = sequenced([attempt(tokens=1), attempt(tokens=10)])
    mend = sequenced([correction("", of=of, revision=1, tokens=50)], sequence=2)
    for record in [mend, batch] if correction_first else [batch, mend]:
        await gate.send(record)
    found = await windows(gate.connection)
    assert found[0][5:7] == (2, 51)
    assert await windows_of_facts(gate.connection) == found


async def test_a_correction_to_another_customer_moves_the_usage(gate: Gate) -> None:
    await gate.send(keyed(ORIGINAL))
    moved = correction("a.1", of="a", revision=1, customer_id="nobody")
    assert await gate.outcomes(keyed(moved)) == ["suspense"]
    assert [row[:2] for row in await windows(gate.connection)] == [(None, "nobody")]


async def test_a_correction_that_names_no_known_source_is_refused(gate: Gate) -> None:
    lost = correction("a.1", of="a", revision=1, supersedes_source="/nowhere")
    (found,) = await gate.send(keyed(lost))
    assert [item.reason for item in found.items()] == [Reason.UNKNOWN_TARGET]
    assert await gate.outcomes(Record(keyed(FIRST).body)) == ["created"]
