"""Runs of agents: kept from events, exact under corrections, and told with share and cost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.reference.enter_budget import enter_budget
from ledger.flows.reference.resources import BY_WORD, ListQuery, list_page
from ledger.flows.settle import settle
from ledger.reports.metering.agent import AGENT
from ledger.reports.metering.agents import AGENTS
from ledger.reports.report import Asked
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewBudget
from ledger.wire.inputs import read_input
from tests.flows.test_invoice_trace import on_a_card
from tests.support.usage import AUTHOR, NOW, Event, Gate, attempt, correction, keyed, open_books

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


async def test_a_run_of_now_is_running_though_its_period_is_not_over(gate: Gate) -> None:
    now = datetime.now(UTC)
    await prepare_storage(gate.connection, now=now)
    events = [of(attempt(run), "planner", run) for run in ("run-1", "run-2")]
    for event, hours in zip(events, (0, 2), strict=True):
        event["time"] = (now - timedelta(hours=hours)).isoformat()
    await gate.send(keyed(*events), now=now)
    report = await AGENTS.at_once(
        gate.connection,
        entity_id="factory",
        period=(DAY, DAY.replace(year=2100)),
        asked=Asked({}),
        purpose="test",
    )
    assert [(row.runs.runs, row.runs.running) for row in report.agents] == [(2, 1)]


async def told(connection: Connection, **options: str) -> dict[str, Any]:
    report = await AGENT.at_once(
        connection,
        entity_id="factory",
        period=(DAY, DAY + timedelta(days=1)),
        asked=Asked({**AGENT.defaults, **options}),
        purpose="test",
    )
    assert [*AGENT.show(report, Asked({}))]
    return dict(AGENT.to_json(report))


async def test_one_agent_has_its_runs_and_its_budgets(gate: Gate) -> None:
    budget: dict[str, Any] = {
        "budget_id": "coding",
        "customer_id": "acme",
        "agent_id": "coder",
        "period": "day",
    }
    budget |= {"unit": "tokens", "amount": "100", "zone": "UTC", "hard": True}
    budget |= {"valid_from": DAY.isoformat()}
    await enter_budget(gate.connection, read_input(NewBudget, budget), AUTHOR)
    other = read_input(NewBudget, budget | {"budget_id": "plan", "agent_id": "planner"})
    await enter_budget(gate.connection, other, AUTHOR)
    await gate.send(
        keyed(
            of(attempt("a", tokens=30), "planner", "run-1"),
            of(attempt("b", minute=3, tokens=10), "coder", "run-2", parent_run_id="run-1", step=4),
            of(attempt("c", minute=9, tokens=20), "coder", "run-3"),
            of(attempt("d", minute=19, tokens=1), "coder", "run-2"),
            attempt("e", tokens=39),
        )
    )
    await settle(gate.connection, now=NOW)
    said = await told(gate.connection, customer="acme", agent="coder")
    assert (said["agent"]["runs"], str(said["agent"]["demand_pct"])) == (2, "31.00")
    runs = [
        (run["agent_run_id"], run["parent_run_id"], run["steps"], run["lasted_s"], run["requests"])
        for run in said["latest_runs"]
    ]
    assert runs == [("run-2", "run-1", 4, 16 * 60, 2), ("run-3", None, 1, 0, 1)]
    assert [run["output_tokens"] for run in said["latest_runs"]] == [22, 40]
    (used,) = said["budgets"]
    assert (used["budget_id"], used["used"], used["held"]) == ("coding", 93, 0)
    assert (used["ceiling"], used["hard"], used["agent_run_id"]) == (100, True, "")


async def test_an_agent_of_nobody_is_refused_by_name(gate: Gate) -> None:
    await gate.send(keyed(of(attempt("a"), "planner", "run-1")))
    with pytest.raises(InvalidInputError, match="agent"):
        await told(gate.connection, customer="acme")
    for named in ({"customer": "acme", "agent": "coder"}, {"customer": "x", "agent": "planner"}):
        with pytest.raises(NotFoundError, match="used nothing"):
            await told(gate.connection, **named)
