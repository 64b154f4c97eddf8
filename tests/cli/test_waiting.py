"""What waits is listed by ids that are accepted back, and leaves the alarm once it is decided."""

import asyncio

from ledger.domain.metering.record import Record
from ledger.store.queries import Connection
from tests.cli.command_line import CommandLine
from tests.support.database import Database, execute
from tests.support.usage import Gate, attempt, keyed, open_books

FAR = "ALTER TABLE quarantine ALTER quarantine_id RESTART WITH 123456789"


async def test_conflicts_are_listed_shown_and_resolved(
    worker: Connection, command: CommandLine
) -> None:
    await open_books(worker)
    await Gate(worker).send(keyed(attempt("x", tokens=10)), keyed(attempt("x", tokens=70)))
    (row,) = await asyncio.to_thread(command.items, "conflicts", "list")
    number = str(row["conflict_id"])
    assert number in (await asyncio.to_thread(command, "conflicts", "list")).stdout.split()
    shown = (await asyncio.to_thread(command, "conflicts", "show", number)).stdout
    assert '"uncached": 10' in shown
    assert '"uncached": 70' in shown
    status = (await asyncio.to_thread(command, "status")).stdout
    assert "Conflicts: 1 event to resolve; 1 event contradicted" in status
    await asyncio.to_thread(command, "conflicts", "resolve", number, "kept", status=2)
    why = ("--reason", "sent twice", "--id", "x-2")
    await asyncio.to_thread(command, "conflicts", "resolve", number, "resent", *why)
    assert await asyncio.to_thread(command.items, "conflicts", "list") == []
    (row,) = await asyncio.to_thread(command.items, "conflicts", "list", "--all")
    assert (row["resolution"], row["reason"]) == ("resent", "sent twice")
    status = (await asyncio.to_thread(command, "status")).stdout
    assert "Conflicts: 0 events to resolve; 1 event" in status


async def test_quarantine_and_nameless_suspense_are_dismissed_with_a_reason(
    worker: Connection, database: Database, command: CommandLine
) -> None:
    await open_books(worker)
    nameless = attempt("n")
    del nameless["data"]["customer_id"]
    await execute(database.superuser_url, FAR)
    await Gate(worker).send(Record(b"{nothing"), keyed(nameless))
    listed = (await asyncio.to_thread(command, "quarantine", "list")).stdout
    assert "123456789" in listed
    await asyncio.to_thread(command, "quarantine", "dismiss", "123456789", status=2)
    await asyncio.to_thread(
        command, "quarantine", "dismiss", "123456789", "--reason", "a test of the sender"
    )
    shown = (await asyncio.to_thread(command, "status")).stdout
    assert "Quarantined: 0 events" in shown
    assert "Suspense: 1 request of unknown customers: (no name)" in shown
    why = ("--reason", "nobody's, and never will be")
    await asyncio.to_thread(command, "suspense", "dismiss", "--nameless", *why)
    shown = (await asyncio.to_thread(command, "status")).stdout
    assert "Suspense: 0 requests" in shown
    # What comes later waits again.
    await Gate(worker).send(keyed(nameless | {"id": "later"}))
    (row,) = await asyncio.to_thread(command.items, "suspense", "list")
    assert (row["customer_ref"], row["requests"]) == ("", 2)
    assert "Nothing waits" in await asyncio.to_thread(
        command.refusal, "suspense", "dismiss", "nobody", *why
    )
