"""Bodies are stored by a process of their own: what became of them is the same, whoever dies."""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType

import msgspec
import pytest

from ledger import clock
from ledger.api.far_intake import FarIntake, HandedBack, HandedOver, StoringError, far_intake
from ledger.api.intake import open_intake
from ledger.commands.serve.intake_process import intake_process
from ledger.domain.errors import UnavailableError
from ledger.domain.metering.fact import Fate, Reason
from ledger.domain.metering.permission import Binding, Permission
from ledger.domain.metering.record import ItemOutcome, Record, RecordOutcome, ReplayOf
from ledger.domain.metering.target import CorrectionTarget
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.settings import Settings
from ledger.store.queries import Connection
from ledger.wire.batch import COLUMNAR, BatchHeader
from tests.support.database import Database, execute
from tests.support.usage import (
    SOURCE,
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

END_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE application_name = 'tokenledger-api-ingest' AND datname = current_database()"""
BODIES = (
    keyed(attempt("a"), attempt("b", who_knows=1)),
    keyed(attempt("a"), attempt("a", tokens=11)),
    Record(b"{nothing"),
    Record(b"\xff\x00"),
    sequenced([attempt(), attempt(minute=1)]),
    sequenced([attempt(), attempt(minute=2)]),
    keyed(correction("c", of="b", revision=1, tokens=3)),
    replace(keyed(attempt("of-acme"), attempt("d", customer_id="beta")), actor="key-1"),
    replace(keyed(attempt("d")), permission=bound_to([SOURCE], "beta")),
)


@pytest.fixture
async def far(database: Database, worker: Connection) -> AsyncIterator[FarIntake]:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    with intake_process(Settings(worker_url=database.worker_url)) as socket:
        async with far_intake(socket) as intake:
            yield intake


def test_all_that_can_be_said_of_a_body_crosses() -> None:
    record = Record(
        body=b"\x00\xff",
        header=BatchHeader("s", "p", 2**63 - 1, 1, 3, COLUMNAR),
        transport="http",
        position="r-1",
        actor="k",
        lane=3,
        permission=Permission(
            Binding(frozenset({"s"}), frozenset({"acme"}), "factory"),
            frozenset({"acme"}),
            frozenset({"GPU-1"}),
        ),
        refusal="no",
        refused_for=Reason.UNSTORABLE,
        replay_of=ReplayOf(1, 2, 3, CorrectionTarget(4, "t", keyed=True), whole=True),
        encoding=COLUMNAR,
        unread={4: "half a line \udc80".encode("utf-8", "replace").decode()},
    )
    outcome = RecordOutcome(
        2,
        7,
        1,
        (1, 0, 0, 1, 0, 0),
        {1: ItemOutcome(1, "rejected", "e", Reason.WRONG_FORM, "id: …")},
    )
    asked, answered = HandedOver(1, record), HandedBack(1, replace(outcome, unknown={"x": 1}))
    plain = {field.name: field.default for field in fields(Record)}
    assert all(getattr(record, name) != plain[name] for name in plain if name != "transport")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(asked), type=HandedOver) == asked
    back = msgspec.msgpack.decode(msgspec.msgpack.encode(answered), type=HandedBack).outcome
    assert back is not None
    assert replace(back, tally=tuple(back.tally)) == answered.outcome


async def test_what_becomes_of_bodies_is_what_one_process_makes_of_them(
    far: FarIntake, database: Database, worker: Connection
) -> None:
    async with open_intake(database.worker_url, IngestLimits()) as here:
        for n, body in enumerate(BODIES):
            there = await far.store(body)
            assert there.received == sum(there.tally)
            again = [await intake.store(body) for intake in (far, here)]
            assert [_said(one) for one in again[:1]] == [_said(one) for one in again[1:]], n
    assert await windows(worker) == await windows_of_facts(worker)


async def test_it_dies_and_whoever_sends_again_is_counted_once(
    far: FarIntake, worker: Connection
) -> None:
    bodies = [keyed(attempt(f"e{n}")) for n in range(200)]
    await far.store(bodies[0])
    (child,) = multiprocessing.active_children()

    async def send(some: Sequence[Record]) -> None:
        for body in some:
            await far.store(body)

    # Each sends one body after the other: as the first of all is answered, none is done.
    sending = [asyncio.create_task(send(bodies[n::8])) for n in range(8)]
    await far.store(keyed(attempt("one more")))
    child.kill()
    found = await asyncio.gather(*sending, return_exceptions=True)
    assert UnavailableError in {type(one) for one in found} <= {UnavailableError, NoneType}
    again = await asyncio.gather(*(_until_it_answers(far, body) for body in bodies))
    assert all(one.counts[Fate.COUNTED] + one.counts[Fate.DUPLICATE] == 1 for one in again)
    assert (await fates(worker))["counted"] == 201
    assert await windows(worker) == await windows_of_facts(worker)
    await far.ready()


async def test_nobody_there_is_not_ready(tmp_path: Path) -> None:
    async with far_intake(tmp_path / "nobody") as intake:
        with pytest.raises(UnavailableError):
            await intake.ready()


async def test_many_that_wait_for_it_to_come_wait_no_longer_than_one(tmp_path: Path) -> None:
    async with far_intake(tmp_path / "nobody", start_s=1) as intake:
        began = time.monotonic()
        sending = [intake.store(keyed(attempt(f"e{n}"))) for n in range(20)]
        found = await asyncio.gather(*sending, return_exceptions=True)
        assert {type(one) for one in found} == {UnavailableError}
        # Less than twenty times as long, however much else this machine does.
        assert time.monotonic() - began < 15


async def test_what_no_body_is_at_fault_for_is_no_answer_and_no_end(
    far: FarIntake, worker: Connection, database: Database
) -> None:
    await far.store(keyed(attempt("first")))
    await execute(database.superuser_url, "REVOKE INSERT ON receipt FROM tokenledger_worker")
    with pytest.raises(StoringError, match="InsufficientPrivilegeError"):
        await far.store(keyed(attempt("second")))
    await execute(database.superuser_url, "GRANT INSERT ON receipt TO tokenledger_worker")
    await execute(database.superuser_url, END_ALL)
    assert (await _until_it_answers(far, keyed(attempt("third")))).counts[Fate.COUNTED] == 1


async def _until_it_answers(far: FarIntake, body: Record) -> RecordOutcome:
    while True:
        try:
            return await far.store(body)
        except UnavailableError:
            await asyncio.sleep(0.05)


def _said(outcome: RecordOutcome) -> object:
    return tuple(outcome.tally), dict(outcome.exceptions), dict(outcome.unknown)
