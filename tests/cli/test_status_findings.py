"""Each finding of `tokenledger status` is there while its cause is, and leaves with it."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from ledger import clock
from ledger.flows.metering.ingest import prepare_storage
from ledger.store.queries import Connection
from tests.cli.command_line import CommandLine
from tests.support.usage import (
    Gate,
    add_customer,
    attempt,
    correction,
    keyed,
    open_books,
    sequenced,
)

CAUSES = {
    "suspense": "Suspense: 1 request of unknown customers: walk-in",
    "unpriced": "kinds of usage without a price",
    "quarantine": "Quarantined: 1 event could not be read",
    "conflicts": "Conflicts: 1 event to resolve",
    "gap": "Gap: /hosts/a of p1, epoch 1, lacks batches 1 to 2",
    "not final": "Not final: in the last 24 hours",
    "parked": "Parked: rate of factory 2026-08-06T11:00Z to 2026-08-06T12:00Z, failed 1 time since",
    "background": "the disk said no",
}
GONE = CAUSES | {"unpriced": "Unpriced: 0 kinds of usage without a price"}
FROM = "2026-01-01T00:00:00Z"
ENTERED: dict[str, list[dict[str, Any]]] = {
    "rate-cards": [
        {
            **{"rate_card_id": "list", "entity_id": "factory", "name": "L", "currency": "EUR"},
            "prices": [
                {"meter": meter, "amount": "5", "valid_from": FROM} for meter in ("input", "output")
            ],
        }
    ],
    "subscriptions": [
        {
            **{"subscription_id": f"{name}-1", "customer_id": name},
            **{"rate_card_id": "list", "valid_from": FROM},
        }
        for name in ("acme", "walk-in")
    ],
}
PARKED = """
INSERT INTO parked (stage, entity_id, subject, windows, reason, failures, first_failed_at,
                    last_failed_at, next_try_at)
VALUES ('rate', 'factory', '', '[2026-08-06T11:00Z,2026-08-06T12:00Z)', 'a wall', 1, now(), now(),
        now())
"""
FAILED = """
INSERT INTO work_state (work, entity_id, failed_at, failure, failures)
VALUES ('settle', '', now(), 'the disk said no', 1)
"""


def of_source(source: str, event: dict[str, Any]) -> dict[str, Any]:
    return event | {"source": source}


def recent(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"time": (clock.now() - timedelta(hours=1)).strftime("%FT%TZ")}


async def cause(gate: Gate, command: CommandLine) -> None:
    """Everything an operator has to see, once each."""
    broken = of_source("/gateways/refused", attempt("r", requests=-1))
    await gate.send(keyed(broken), keyed(attempt("x")), keyed(attempt("x", tokens=70)))
    await gate.send(keyed(attempt("w", customer_id="walk-in")), sequenced([attempt()], sequence=3))
    guess = {"input": {"uncached": 5}, "output": {"visible": 1}, "source": "char_estimate"}
    await gate.send(keyed(recent(attempt("g", usage=guess))), now=clock.now())
    await asyncio.to_thread(command, "rate")
    await gate.connection.execute(PARKED)
    await gate.connection.execute(FAILED)


async def put_right(gate: Gate, command: CommandLine, folder: Path) -> None:
    """What an operator does about each."""
    await gate.send(keyed(of_source("/gateways/refused", attempt("r"))))
    await gate.send(*(sequenced([attempt()], sequence=n) for n in (1, 2)))
    await gate.send(keyed(recent(correction("g-1", of="g", revision=1))), now=clock.now())
    await add_customer(gate.connection, "walk-in")
    await gate.connection.execute("UPDATE work_state SET failure = NULL, failures = 0")
    await asyncio.to_thread(decide, command, folder)


def decide(command: CommandLine, folder: Path) -> None:
    why = ("--reason", "a test")
    command("suspense", "release", "walk-in")
    (refused,) = command.items("quarantine", "list")
    command("quarantine", "dismiss", refused["quarantine_id"], *why)
    (conflict,) = command.items("conflicts", "list")
    command("conflicts", "resolve", conflict["conflict_id"], "kept", *why)
    for kind, rows in ENTERED.items():
        path = folder / f"{kind}.json"
        path.write_text(json.dumps(rows))
        command("import", kind, path)
    command("settle")


def form_of(status: dict[str, Any], source: str) -> list[str | None]:
    return [row["form"] for row in status["sources"] if row["source"] == source]


async def test_every_finding_comes_with_its_cause_and_goes_with_it(
    worker: Connection, command: CommandLine, tmp_path: Path
) -> None:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    shown = (await asyncio.to_thread(command, "status")).stdout
    assert [name for name, line in CAUSES.items() if line in shown] == ["unpriced"]
    assert GONE["unpriced"] in shown
    gate = Gate(worker)
    await cause(gate, command)
    shown = (await asyncio.to_thread(command, "status")).stdout
    assert [name for name, line in CAUSES.items() if line not in shown] == []
    assert GONE["unpriced"] not in shown
    status = await asyncio.to_thread(command.json, "status")
    assert form_of(status, "/gateways/refused") == [None]
    await put_right(gate, command, tmp_path)
    shown = (await asyncio.to_thread(command, "status")).stdout
    assert [name for name, line in GONE.items() if line in shown] == ["unpriced"]
    status = await asyncio.to_thread(command.json, "status")
    assert form_of(status, "/gateways/refused") == ["keyed"]
