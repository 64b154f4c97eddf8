"""What runs of agents used."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Unpack

from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity

AGENT_RUNS = load_queries("metering/agent_runs")


class AgentSum(NamedTuple):
    """Runs of a customer's agent: how many in all, of another run, and in the last hour; the
    longest in seconds, and the most steps of one."""

    customer_id: str
    agent_id: str
    runs: int
    child_runs: int
    running: int
    longest_s: int
    most_steps: int


async def sum_agents(connection: Connection, **asked: Unpack[OfEntity]) -> list[AgentSum]:
    """Runs by customer and agent."""
    return await AGENT_RUNS["sum_agents"].values(connection, AgentSum, **asked)


class RunSum(NamedTuple):
    """A run of an agent: who started it, when it was used first and last, and what it used."""

    agent_run_id: str
    parent_agent_id: str | None
    parent_run_id: str | None
    first_at: datetime | None
    last_at: datetime | None
    lasted_s: int | None
    steps: int
    requests: int
    input_tokens: int
    output_tokens: int
    extras: Mapping[str, int]


class AgentBudget(NamedTuple):
    """A budget of an agent, or of one of its runs, in its latest period."""

    budget_id: str
    agent_run_id: str
    period: str
    period_start: datetime
    unit: str
    currency: str | None
    hard: bool
    used: Decimal
    held: Decimal
    ceiling: Decimal


async def find_runs(
    connection: Connection, customer_id: str, agent_id: str, limit: int, **asked: Unpack[OfEntity]
) -> list[RunSum]:
    """An agent's runs, those used last first, at most so many."""
    named = {"customer_id": customer_id, "agent_id": agent_id, "limit": limit}
    return await AGENT_RUNS["find_runs"].values(connection, RunSum, **named, **asked)


async def find_budgets(
    connection: Connection,
    customer_id: str,
    agent_id: str,
    limit: int,
    *,
    entity_id: str,
    until: datetime,
) -> list[AgentBudget]:
    """An agent's budgets, at most so many."""
    named = {"customer_id": customer_id, "agent_id": agent_id, "limit": limit}
    within = {"entity_id": entity_id, "until": until}
    return await AGENT_RUNS["find_budgets"].values(connection, AgentBudget, **named, **within)
