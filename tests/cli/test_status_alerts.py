"""Budgets and balances that have something to say do so in `tokenledger status`."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ledger import clock
from ledger.flows.metering.ingest import prepare_storage
from ledger.store.queries import Connection
from tests.cli.command_line import CommandLine
from tests.support.books import Books
from tests.support.usage import open_books
from tests.support.weights import add_weight_check, enter_measured

SAID = """
INSERT INTO budget_alert (budget_id, run_id, period_start, kind, percent, customer_id, used, held,
                          ceiling, noticed_at)
SELECT budget_id, run_id, '2026-07-01T00:00Z', kind, percent, 'acme', 90, 5, 100,
       now() - age * interval '1 hour'
  FROM (VALUES ('old', '', 'used', 50, 25), ('month', '', 'used', 80, 3),
               ('month', '', 'refused', 0, 2), ('runs', 'run-7', 'runaway', 0, 1))
    AS a (budget_id, run_id, kind, percent, age)
"""
RULE = """
[{"customer_id": "acme", "currency": "EUR", "low_balance": "50",
  "valid_from": "2026-01-01T00:00:00Z"}]
"""
GRANT = """
[{"grant_id": "g-1", "entity_id": "factory", "customer_id": "acme", "kind": "prepaid",
  "currency": "EUR", "amount": "60", "granted_on": "2026-01-01", "starts_on": "2026-01-01"}]
"""

EVIDENCE: dict[str, Any] = {
    **{"since": "2026-03-02T09:00:00Z", "until": "2026-03-02T10:00:00Z", "cut_off_id": 1},
    **{"slots": 240, "idle_slots": 30, "fit_error_percent": "0.2", "condition": "5"},
    **{"holdout_error_percent": "0.3", "low": {"output": 1}, "high": {"output": 2}},
}


async def test_alerts_of_a_day_and_balances_that_are_low_are_told(
    worker: Connection, command: CommandLine, tmp_path: Path
) -> None:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    quiet = await asyncio.to_thread(command.json, "status")
    assert (quiet["budget_alerts"], quiet["low_balances"]) == ([], [])
    await worker.execute(SAID)
    await asyncio.to_thread(enter, command, tmp_path, "top-up-rules", RULE)
    shown = (await asyncio.to_thread(command, "status")).stdout
    lines = [line for line in shown.splitlines() if line.startswith(("Budget:", "Low balance:"))]
    assert [line.partition(" at ")[0] for line in lines] == [
        "Budget: runs of acme in run run-7, far more than is usual was used, or asked for",
        "Budget: month of acme, a reservation did not fit",
        "Budget: month of acme, 80 % were used",
        "Low balance: acme of factory has 0 EUR left, less than 50",
    ]
    assert lines[2].endswith(": 90 used and 5 held of 100")
    status = await asyncio.to_thread(command.json, "status")
    assert [each["budget_id"] for each in status["budget_alerts"]] == ["runs", "month", "month"]
    assert [each["low_balance"] for each in status["low_balances"]] == ["50"]
    await asyncio.to_thread(enter, command, tmp_path, "grants", GRANT)
    status = await asyncio.to_thread(command.json, "status")
    assert status["low_balances"] == []


async def test_weights_that_drifted_are_told_with_numbers(
    worker: Connection, command: CommandLine
) -> None:
    books, since = Books(worker), datetime(2026, 3, 2, 10, tzinfo=UTC)
    await open_books(worker)
    await books.facility()
    await books.lease(since)
    await books.deployment(since)
    await enter_measured(worker, since, source="calibrated", idle_mw_per_gpu=1, evidence=EVIDENCE)
    until = since + timedelta(hours=1)
    await add_weight_check(worker, since, until, measured_mj=3_600_000_000)
    shown = (await asyncio.to_thread(command, "status")).stdout
    assert (
        "Weights: measured (version 2) of chat say 0.000000 to 0.000000 kWh from"
        " 2026-03-02T10:00Z to 2026-03-02T11:00Z, and 1.000000 were measured;"
    ) in shown
    status = await asyncio.to_thread(command.json, "status")
    assert [each["measured_mj"] for each in status["drifted_weights"]] == [3_600_000_000]


def enter(command: CommandLine, folder: Path, kind: str, rows: str) -> None:
    path = folder / f"{kind}.json"
    path.write_text(rows)
    command("import", kind, path)
