"""What waits keeps what its sender's key was bound to: whoever sets it in motion adds no right."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError
from ledger.domain.metering.decode import Reject
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.identities import Refused
from ledger.domain.metering.permission import Binding
from ledger.domain.metering.record import ItemOutcome, Record
from ledger.flows.metering.archive import archive
from ledger.flows.metering.aside import refused_whole
from ledger.flows.metering.conflicts import Resolution, resolve_conflict
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.replay import replay_quarantine
from ledger.flows.reference.parties import enter_customer, enter_entity
from ledger.store.connect import draw_batch_seq
from ledger.store.metering.conflicts import list_conflicts
from ledger.store.metering.ingest import insert_quarantine
from ledger.store.operations import count_dead_letters, count_quarantined
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.party_inputs import NewCustomer, NewEntity
from tests.support.usage import (
    NOW,
    SOURCE,
    Event,
    Gate,
    add_customer,
    attempt,
    correction,
    keyed,
    open_books,
    sequenced,
    windows,
    windows_of_facts,
)

AUTHOR = Author("cli:ann", "it was so", "r1")
LATER = NOW + timedelta(hours=2)
SHARED = frozenset({SOURCE, "/hosts/a"})
BINDINGS = {
    "a customer": Binding(SHARED, frozenset({"acme"})),
    "an entity": Binding(SHARED, entity_id="plant"),
    "a customer of an entity": Binding(None, frozenset({"gamma"}), "plant"),
}
HOPELESS = {
    *(Reason.BAD_HEADER, Reason.COUNT_MISMATCH, Reason.BODY_TOO_LARGE, Reason.TOO_MANY_ITEMS),
    *(Reason.MORE_REFUSED, Reason.NOT_AN_ORIGINAL, Reason.FORBIDDEN_TARGET),
}


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    """Books of beta, who has 5,000 tokens under `b`, and of another entity's gamma."""
    await open_books(worker)
    await add_customer(worker, "beta")
    plant = {"entity_id": "plant", "name": "Plant", "currency": "EUR", "zone": "UTC"}
    await enter_entity(worker, read_input(NewEntity, plant), AUTHOR)
    gamma = {"customer_id": "gamma", "entity_id": "plant", "name": "gamma"}
    await enter_customer(worker, read_input(NewCustomer, gamma), AUTHOR)
    gate = Gate(worker)
    await gate.send(keyed(attempt("b", customer_id="beta", tokens=5_000)))
    return gate


async def by_key(gate: Gate, record: Record, whose: str) -> Record:
    """The record as it comes with a key that is bound."""
    known = await gate.directory.read(gate.connection)
    return replace(record, permission=BINDINGS[whose].permission(known))


async def replayed(gate: Gate, quarantine_id: int) -> ItemOutcome:
    found = await replay_quarantine(
        gate.connection,
        [quarantine_id],
        directory=gate.directory,
        now=LATER,
        limits=gate.limits,
        actor="cli:ann",
    )
    return found[quarantine_id]


async def newest(gate: Gate) -> int:
    return int(await gate.connection.fetchval("SELECT max(quarantine_id) FROM quarantine"))


async def usage(gate: Gate) -> dict[str, int]:
    """Tokens by customer; facts and windows agree."""
    found = await windows(gate.connection)
    assert found == await windows_of_facts(gate.connection)
    sums = Counter[str]()
    for row in found:
        sums[row[0]] += int(row[6])
    return dict(sums)


@pytest.mark.parametrize("whose", BINDINGS)
async def test_no_replay_of_a_bound_key_reaches_what_it_may_not(gate: Gate, whose: str) -> None:
    """Whatever it was refused for, and nothing hinders it any more but whose it is."""
    (line,) = keyed(attempt("late", customer_id="beta", tokens=7)).body.splitlines()
    binding = BINDINGS[whose].to_fields()
    for reason in Reason:
        await insert_quarantine(
            gate.connection,
            [Refused(0, Reject(reason, "of a test", "late", SOURCE), line, binding=binding)],
            batch_seq=await draw_batch_seq(gate.connection),
            received_at=NOW,
            expires_at=LATER,
        )
        waits = await newest(gate)
        if reason in HOPELESS:
            with pytest.raises(ConflictError):
                await replayed(gate, waits)
        else:
            assert (await replayed(gate, waits)).reason is Reason.FORBIDDEN_CUSTOMER
    assert await usage(gate) == {"beta": 5_000}
    assert await count_quarantined(gate.connection) == len(Reason)


def _future(customer: str) -> Event:
    event = attempt("late", customer_id=customer, tokens=7)
    return event | {"time": "2026-08-06T13:00:00Z"}


FOREIGN: dict[str, Callable[[], Record]] = {
    "usage of another": lambda: keyed(attempt("late", customer_id="beta", tokens=7)),
    "usage that was early": lambda: keyed(_future("beta")),
    "usage in a batch of its own": lambda: sequenced([attempt(), _future("beta")]),
    "a source of others": lambda: keyed(_future("acme") | {"source": "/else"}),
    "a correction in a source of others": lambda: keyed(
        correction("m", of="b", revision=1, supersedes_source="/else")
    ),
    "a whole record": lambda: refused_whole(
        keyed(attempt("late", customer_id="beta", tokens=7)), ValueError("it was ill")
    ),
}


async def test_what_a_bound_key_was_refused_stays_refused(gate: Gate) -> None:
    for reach, make in FOREIGN.items():
        await gate.send(await by_key(gate, make(), "a customer"))
        before = await usage(gate)
        waits = await newest(gate)
        assert (await replayed(gate, waits)).outcome == "rejected", reach
        assert await usage(gate) == before
    assert await count_dead_letters(gate.connection) == 0


async def test_what_is_its_own_counts_and_keeps_its_owner(gate: Gate) -> None:
    early = [keyed(_future("acme")), sequenced([attempt(tokens=1), _future("acme")])]
    for record in early:
        await gate.send(await by_key(gate, record, "a customer"))
        assert (await replayed(gate, await newest(gate))).outcome == "created"
    owners = await gate.connection.fetch(
        "SELECT owner FROM event_key WHERE owner <> '' UNION ALL SELECT owner FROM ingest_batch"
    )
    assert [row[0] for row in owners] == ["acme", "acme"]
    assert await usage(gate) == {"acme": 15, "beta": 5_000}


async def test_an_entity_that_got_its_customer_since_gets_its_usage(gate: Gate) -> None:
    sent = keyed(attempt("late", customer_id="new", tokens=7))
    await gate.send(await by_key(gate, sent, "an entity"))
    waits = await newest(gate)
    assert (await replayed(gate, waits)).reason is Reason.FORBIDDEN_CUSTOMER
    new = {"customer_id": "new", "entity_id": "plant", "name": "new"}
    await enter_customer(gate.connection, read_input(NewCustomer, new), AUTHOR)
    assert (await replayed(gate, waits)).outcome == "created"
    assert await usage(gate) == {"beta": 5_000, "new": 7}


async def test_a_correction_whose_target_was_away_is_void_when_it_is_anothers(
    gate: Gate, tmp_path: Path
) -> None:
    """It is decided then: listed with the reason, once, and no longer with what waits."""
    later = NOW + timedelta(days=10)
    await prepare_storage(gate.connection, now=later)
    before = NOW.date() + timedelta(days=1)
    await archive(gate.connection, before=before, today=later.date(), folder=tmp_path)
    path = tmp_path / "usage_fact" / "stored_day=2026-08-06" / "part.parquet"
    path.rename(tmp_path / "elsewhere")
    theft = keyed(correction("t", of="b", revision=1, tokens=1))
    await gate.send(await by_key(gate, theft, "a customer"), now=later)
    waits = await newest(gate)
    (tmp_path / "elsewhere").rename(path)
    assert (await replayed(gate, waits)).reason is Reason.FORBIDDEN_TARGET
    assert sum(row[6] for row in await windows(gate.connection)) == 5_000
    listed = await gate.connection.fetch("SELECT quarantine_id, event_id, reason FROM quarantine")
    assert [tuple(row)[1:] for row in listed] == [("t", "target_away"), ("t", "forbidden_target")]
    assert await count_quarantined(gate.connection) == 1
    for row in listed:
        with pytest.raises(ConflictError):
            await replayed(gate, row[0])


FOREIGN_OFFERS = {
    # The second of one revision, of an original that nobody had heard of then.
    "a correction": (
        [keyed(correction(f"c{n}", of="b2", revision=1, tokens=n)) for n in (1, 2)],
        keyed(attempt("b2", customer_id="beta", tokens=60)),
    ),
    "usage beside its own": (
        [
            sequenced([attempt(tokens=1)]),
            sequenced([attempt(tokens=3), attempt(customer_id="beta", tokens=2)]),
        ],
        keyed(attempt("b3", customer_id="beta", tokens=60)),
    ),
}


@pytest.mark.parametrize("how", ["corrected", "resent"])
@pytest.mark.parametrize("offered", FOREIGN_OFFERS)
async def test_a_conflict_of_a_bound_key_reaches_no_further_than_its_key(
    gate: Gate, how: Resolution, offered: str
) -> None:
    sent, late = FOREIGN_OFFERS[offered]
    for record in sent:
        await gate.send(await by_key(gate, record, "a customer"))
    await gate.send(late)
    (conflict,) = await list_conflicts(gate.connection, rows=9)
    with pytest.raises(ConflictError, match=r"were not taken|by no id"):
        await resolve_conflict(
            gate.connection,
            conflict.conflict_id,
            how,
            AUTHOR,
            event_id="again",
            directory=gate.directory,
            now=NOW,
            limits=gate.limits,
        )
    assert (await usage(gate))["beta"] == 5_060
