"""Runs of agents: kept from events, exact under corrections, and told with share and cost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.flows.reference.resources import BY_WORD, ListQuery, list_page
from ledger.flows.settle import settle
from ledger.reports.metering.agents import AGENTS
from ledger.reports.report import Asked
from ledger.store.queries import Connection
from tests.flows.test_invoice_trace import on_a_card
from tests.support.usage import NOW, Event, Gate, attempt, correction, keyed, open_books

DAY = datetime(2026, 8, 6, tzinfo=UTC)


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    """acme on a card, and a gate to send its usage through."""
    await open_books(worker)
    await on_a_card(worker, "acme")
    return Gate(worker)


def of(event: Event, agent: str, run: str | None = None, **said: Any) -> Event:
    """The event as one of an agent, and of a run of it."""
    event["data"]["agent"] = {"id": agent, **({"run_id": run} if run else {}), **said}
    return event


async def runs(connection: Connection) -> dict[str, dict[str, Any]]:
    rows = await list_page(connection, BY_WORD["agent-runs"], ListQuery(limit=100), now=NOW)
    return {str(row.values["agent_run_id"]): dict(row.values) for row in rows}


async def test_a_run_is_kept_with_who_started_it(gate: Gate) -> None:
    await gate.send(
        keyed(
            of(attempt("a", minute=1), "planner", "run-1", step=1),
            of(attempt("b", minute=20), "planner", "run-1", step=7),
            of(
                attempt("c", minute=4), "coder", "run-2", parent_id="planner", parent_run_id="run-1"
            ),
            of(attempt("d", minute=5), "coder"),
            attempt("e", minute=6),
        )
    )
    await settle(gate.connection, now=NOW)
    found = await runs(gate.connection)
    assert found.keys() == {"run-1", "run-2"}
    first, second = found["run-1"], found["run-2"]
    assert (first["agent_id"], first["steps"], first["requests"]) == ("planner", 7, 2)
    assert (first["child_runs"], first["lasted_s"], first["parent_run_id"]) == (1, 19 * 60, None)
    assert (first["input_tokens"], first["output_tokens"]) == (20, 40)
    assert (second["parent_agent_id"], second["parent_run_id"]) == ("planner", "run-1")
    charged = await gate.connection.fetchval("SELECT sum(amount) FROM charge")
    # Of five attempts alike three are of runs.
    assert first["amount"] + second["amount"] == charged * 3 / 5
    assert first["currency"] == second["currency"] == "EUR"


async def test_corrections_move_a_run_and_leave_nothing_behind(gate: Gate) -> None:
    await gate.send(keyed(of(attempt("a", minute=1), "planner", "run-1", step=2)))
    await gate.send(keyed(attempt("a", minute=1)))
    moved = correction("c", of="a", revision=1, minute=1, tokens=5)
    await gate.send(keyed(of(moved, "planner", "run-2", step=2)))
    found = await runs(gate.connection)
    assert (found["run-1"]["requests"], found["run-2"]["requests"]) == (0, 1)
    assert found["run-2"]["input_tokens"] == 5


async def test_a_run_that_does_not_end_stands_out(gate: Gate) -> None:
    short = [
        of(attempt(f"s{n}{end}", minute=n + end), "planner", f"run-{n}")
        for n in range(5)
        for end in (0, 1)
    ]
    await gate.send(keyed(*short, of(attempt("x", minute=0), "planner", "endless")))
    for hour in range(1, 4):
        early = of(attempt(f"l{hour}"), "planner", "endless")
        early["time"] = (DAY + timedelta(hours=hour)).isoformat()
        await gate.send(keyed(early))
    found = await runs(gate.connection)
    assert found["endless"]["lasted_s"] == 10 * 3_600 + 30
    assert found["endless"]["times_usual"] > 100
    assert found["run-1"]["times_usual"] < 1


async def test_agents_are_told_with_their_shares(gate: Gate) -> None:
    await gate.send(
        keyed(
            of(attempt("a", tokens=30), "planner", "run-1"),
            of(attempt("b", tokens=10), "coder", "run-2", parent_run_id="run-1"),
            of(attempt("c", minute=9, tokens=20), "coder", "run-3", parent_run_id="run-1"),
            attempt("d", tokens=40),
        )
    )
    await settle(gate.connection, now=NOW)
    report = await AGENTS.at_once(
        gate.connection,
        entity_id="factory",
        period=(DAY, DAY + timedelta(days=1)),
        asked=Asked({}),
        purpose="test",
    )
    said = AGENTS.to_json(report)
    agents = {row["agent_id"]: row for row in said["agents"]}  # type: ignore[attr-defined]
    assert {name: str(row["demand_pct"]) for name, row in agents.items()} == {
        **{"": "40.00", "planner": "30.00", "coder": "30.00"},
    }
    coder = agents["coder"]
    assert (coder["runs"], coder["child_runs"], coder["longest_s"]) == (2, 2, 0)
    assert coder["cost"] is None
    assert said["missing"]
    assert sum(row["revenue"] for row in agents.values()) == await gate.connection.fetchval(
        "SELECT sum(amount) FROM charge"
    )
    assert [*AGENTS.show(report, Asked({}))]
