"""A correction replaces by revision, whichever of it and its original comes first."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from itertools import permutations
from typing import Any

import asyncpg
import pytest

from ledger.domain.errors import ConflictError
from ledger.domain.metering.fact import Reason
from ledger.flows.metering.replay import replay_quarantine
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.support.database import Database
from tests.support.usage import (
    NOW,
    SOURCE,
    Gate,
    activity,
    add_customer,
    attempt,
    bound_to,
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


async def test_a_correction_is_known_as_one_that_is_committed_between_two_looks(
    gate: Gate, database: Database
) -> None:
    """Whose id is seen to be taken is looked up after that: what it is was stored with it."""
    writers = [Gate(await connect(database.worker_url)) for _ in range(2)]
    passing = await connect(database.superuser_url)
    sent = [FIRST, correction("a.1.1", of="a.1", revision=1, tokens=30)]
    sending = []
    async with gate_at(database.superuser_url, "receipt") as held:

        async def waiting(work: Awaitable[Any], waits: Connection) -> None:
            sending.append(asyncio.ensure_future(work))
            while not await held.watcher.fetchval(WAITS, waits.get_server_pid()):
                await asyncio.sleep(0.01)

        await waiting(writers[0].outcomes(keyed(sent[0])), writers[0].connection)
        # Whoever looks at ids from now on does so when the first has committed.
        await waiting(passing.execute("BEGIN; LOCK TABLE event_key; COMMIT"), passing)
        await waiting(writers[1].outcomes(keyed(sent[1])), writers[1].connection)
    first, _, second = await asyncio.gather(*sending)
    for connection in (passing, *(writer.connection for writer in writers)):
        await connection.close()
    assert [first, second] == [["created"], ["rejected"]]
    known = {"received": 2, "counted": 1, "quarantined": 1}
    assert await fates(gate.connection) == known


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


@pytest.mark.parametrize("turned", [False, True])
async def test_a_correction_waits_for_a_source_that_numbers_its_batches(
    gate: Gate, turned: bool
) -> None:
    mend = correction("m", of="p1/1/1/0", revision=1, tokens=20, supersedes_source="/hosts/a")
    sent = [keyed(mend), sequenced([attempt(tokens=10)])]
    for record in reversed(sent) if turned else sent:
        assert await gate.outcomes(record) in (["created"], ["superseded"])
    (window,) = found = await windows(gate.connection)
    assert window[5:7] == (1, 20)
    assert await windows_of_facts(gate.connection) == found
    forms = await gate.connection.fetch("SELECT source, form FROM source ORDER BY 1")
    assert [tuple(row) for row in forms] == [(SOURCE, "keyed"), ("/hosts/a", "sequenced")]


@pytest.mark.parametrize("turned", [False, True])
async def test_a_correction_waits_for_a_source_whose_events_have_ids(
    gate: Gate, turned: bool
) -> None:
    mend = correction("m", of="1.1.0", revision=1, tokens=20, supersedes_source="/new")
    sent = [keyed(mend), keyed(attempt("1.1.0") | {"source": "/new"})]
    for record in reversed(sent) if turned else sent:
        await gate.send(record)
    (window,) = await windows(gate.connection)
    assert window[5:7] == (1, 20)


async def test_a_source_keeps_its_form_against_whoever_may_write(worker: Connection) -> None:
    await open_books(worker)
    await Gate(worker).send(keyed(attempt("a")))
    with pytest.raises(asyncpg.RestrictViolationError):
        await worker.execute("UPDATE source SET form = 'sequenced'")


ACME = bound_to([SOURCE, "/hosts/a"], "acme")
OF_BETA = attempt("b", tokens=5_000, customer_id="beta")
THEFT = correction("t", of="b", revision=1, tokens=1)


@pytest.mark.parametrize("turned", [False, True])
async def test_what_a_correction_may_not_replace_is_listed_with_the_reason(
    gate: Gate, turned: bool
) -> None:
    await add_customer(gate.connection, "beta")
    sent = [keyed(OF_BETA), replace(keyed(THEFT), permission=ACME)]
    outcomes = [await gate.outcomes(one) for one in (reversed(sent) if turned else sent)]
    assert outcomes == [["created"], ["created" if turned else "rejected"]]
    rows = await gate.connection.fetch(
        "SELECT quarantine_id, source, event_id, reason, detail FROM quarantine"
    )
    ((quarantine_id, *named, detail),) = (tuple(row) for row in rows)
    assert named == [SOURCE, "t", "forbidden_target"]
    assert detail.startswith("data.supersedes: b is not usage of this customer")
    with pytest.raises(ConflictError, match="names what it cannot replace"):
        await replay_quarantine(
            gate.connection,
            [quarantine_id],
            directory=gate.directory,
            now=NOW,
            limits=gate.limits,
        )
    assert await gate.outcomes(*sent) == ["duplicate", "duplicate"]
    assert [row[:2] + row[6:7] for row in await windows(gate.connection)] == [
        ("beta", "beta", 5_000)
    ]
    changed = await gate.connection.fetch("SELECT from_fate, to_fate, reason FROM fate_change")
    late = [("counted", "quarantined", "forbidden_target")]
    assert [tuple(row) for row in changed] == (late if turned else [])


async def test_a_circle_in_one_record_costs_only_itself(gate: Gate) -> None:
    circle = [
        correction("x", of="y", revision=1),
        correction("y", of="x", revision=1),
        correction("z", of="z", revision=1),
    ]
    (found,) = await gate.send(keyed(*circle, attempt("a")))
    assert [item.reason for item in found.items()] == [Reason.NOT_AN_ORIGINAL] * 3 + [None]
    assert await gate.outcomes(keyed(*circle)) == ["duplicate"] * 3
    (window,) = await windows(gate.connection)
    assert window[5:7] == (1, 10)
    assert await fates(gate.connection) == {
        "received": 7,
        "counted": 1,
        "quarantined": 3,
        "duplicate": 3,
    }


async def test_corrections_of_one_unseen_event_at_once_see_who_came(
    gate: Gate, database: Database
) -> None:
    await add_customer(gate.connection, "beta")
    await gate.send(replace(keyed(THEFT), permission=ACME))
    second = correction("u", of="b", revision=2, tokens=2)
    writers = [Gate(await connect(database.worker_url)) for _ in range(2)]
    sent = [keyed(OF_BETA), replace(keyed(second), permission=ACME)]
    async with gate_at(database.superuser_url, "receipt") as held:
        sending = []
        for writer, record in zip(writers, sent, strict=True):
            sending.append(asyncio.create_task(writer.send(record)))
            while not await held.watcher.fetchval(WAITS, writer.connection.get_server_pid()):
                await asyncio.sleep(0.01)
    await asyncio.gather(*sending)
    for writer in writers:
        await writer.connection.close()
    assert [row[0] for row in await windows(gate.connection)] == ["beta"]
    waiting = await gate.connection.fetch("SELECT event_id FROM quarantine ORDER BY 1")
    assert [row[0] for row in waiting] == ["t", "u"]
