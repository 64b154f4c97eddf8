"""What each agent asked for, earned and cost, its share of both, and its runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.cost.margin import percent
from ledger.domain.money import plain, total
from ledger.reports.cost.figures import known
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.reports.cost.margin_rows import MarginRow
from ledger.reports.report import Asked, PeriodReport, ReportScope, ReportTable, Shown, Warned
from ledger.store.metering.agent_runs import AgentSum, sum_agents
from ledger.store.queries import Connection
from ledger.wire.agent_answers import Agents

NO_AGENT = "(none)"
NO_RUNS = AgentSum("", "", 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent of a customer, beside its runs; what names no agent is a row as well."""

    customer: str
    agent: str
    used: MarginRow
    runs: AgentSum

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return self.used.input_tokens + self.used.output


@dataclass(frozen=True, slots=True)
class AgentsReport:
    """Agents of an entity, those that cost most first; a margin says what they are a part of."""

    margin: MarginReport
    agents: tuple[AgentRow, ...]

    def demand_pct(self, row: AgentRow) -> Decimal | None:
        """An agent's part of all tokens."""
        all_tokens = self.margin.total.input_tokens + self.margin.total.output
        return percent(Decimal(row.tokens), Decimal(all_tokens))

    def cost_pct(self, row: AgentRow) -> Decimal | None:
        """An agent's part of the cost of all usage; None where that is not known."""
        if self.margin.missing is not None:
            return None
        return percent(row.used.cost, total([each.used.cost for each in self.agents]))


async def agents_report(connection: Connection, scope: ReportScope) -> AgentsReport:
    """Agents by customer: their usage at its price and cost, and their runs."""
    margin = await margin_report(connection, **scope, by=("customer", "agent"), without=("cost",))
    runs = await sum_agents(
        connection,
        entity_id=scope["entity_id"],
        since=scope["since"],
        until=scope["until"],
        batch_seq=scope["cut_off"].batch_seq,
    )
    by_agent = {(each.customer_id, each.agent_id): each for each in runs}
    rows = [
        AgentRow(customer, agent, used, by_agent.get((customer, agent), NO_RUNS))
        for used in margin.rows
        for customer, agent in [used.group]
    ]
    ordered = sorted(
        rows, key=lambda row: (-row.used.cost, -row.used.revenue, row.customer, row.agent)
    )
    return AgentsReport(margin, tuple(ordered))


async def _read(connection: Connection, scope: ReportScope, _: Asked) -> AgentsReport:
    return await agents_report(connection, scope)


def _to_json(report: AgentsReport) -> Mapping[str, object]:
    margin = report.margin
    return {
        **margin.of_what(),
        "currency": margin.currency,
        "missing": margin.missing,
        "agents": [use_of(report, row) for row in report.agents],
    }


def use_of(report: AgentsReport, row: AgentRow) -> Mapping[str, object]:
    """An agent as programs see it."""
    return {
        "customer_id": row.customer,
        "agent_id": row.agent,
        "requests": row.used.requests,
        "input_tokens": row.used.known["input_tokens"],
        "output_tokens": row.used.known["output_tokens"],
        "demand_pct": report.demand_pct(row),
        "revenue": row.used.revenue,
        "cost": None if report.margin.missing is not None else row.used.cost,
        "cost_pct": report.cost_pct(row),
        "runs": row.runs.runs,
        "child_runs": row.runs.child_runs,
        "running": row.runs.running,
        "longest_s": row.runs.longest_s,
        "most_steps": row.runs.most_steps,
    }


def _show(report: AgentsReport, _: Asked) -> Iterator[Shown]:
    margin = report.margin
    if margin.missing is not None:
        yield Warned(f"Costs are unknown: {margin.missing}")
    rows = [
        (
            *(row.customer, row.agent or NO_AGENT, row.used.requests, row.tokens),
            *(known(report.demand_pct(row)), plain(row.used.revenue)),
            None if margin.missing else plain(row.used.cost),
            *(known(report.cost_pct(row)), row.runs.runs, row.runs.running, row.runs.longest_s),
        )
        for row in report.agents
    ]
    columns = (
        *("customer", "agent", "requests", "tokens", "demand %", "revenue", "cost", "cost %"),
        *("runs", "running", "longest s"),
    )
    first = ("agent", "revenue", "cost", "demand %", "cost %", "runs", "tokens")
    title = f"Agents, amounts in {margin.currency}"
    yield ReportTable(title, columns, rows, numbers=9, first=first)


AGENTS = PeriodReport(
    "agents",
    "/v1/agents",
    "What each agent of a customer used, earned and cost, its share of both, and its runs: how"
    " many, how many that another run started, and how many were used in the last hour of the"
    " period.",
    Agents,
    _read,
    _to_json,
    _show,
)
