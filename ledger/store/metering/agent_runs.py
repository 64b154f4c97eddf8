"""What runs of agents used."""

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
