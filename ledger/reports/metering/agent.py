"""One agent: what it used, earned and cost, its share of both, its latest runs, and its budgets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.domain.money import plain
from ledger.reports.cost.figures import known
from ledger.reports.metering.agents import AgentRow, AgentsReport, agents_report, use_of
from ledger.reports.report import (
    Asked,
    PeriodReport,
    ReportOption,
    ReportScope,
    ReportTable,
    Shown,
    Warned,
)
from ledger.store.metering.agent_runs import AgentBudget, RunSum, find_budgets, find_runs
from ledger.store.queries import Connection
from ledger.wire.agent_answers import OneAgent

# What a person looks through; `agent-runs` lists them all.
LATEST = 200


@dataclass(frozen=True, slots=True)
class AgentReport:
    """An agent among the others of its entity, with its latest runs and its budgets."""

    among: AgentsReport
    row: AgentRow
    runs: Sequence[RunSum]
    budgets: Sequence[AgentBudget]


async def agent_report(
    connection: Connection, scope: ReportScope, customer_id: str, agent_id: str
) -> AgentReport:
    """One agent of a customer; NotFoundError where it used nothing in that time."""
    among = await agents_report(connection, scope)
    for row in among.agents:
        if (row.customer, row.agent) == (customer_id, agent_id):
            break
    else:
        raise NotFoundError(
            f"Agent {agent_id} of {customer_id} used nothing in this time.",
            "Ask for agents without a name to see which did.",
        )
    entity_id, since, until = scope["entity_id"], scope["since"], scope["until"]
    runs = await find_runs(
        connection,
        customer_id,
        agent_id,
        LATEST,
        entity_id=entity_id,
        since=since,
        until=until,
        batch_seq=scope["cut_off"].batch_seq,
    )
    budgets = await find_budgets(
        connection, customer_id, agent_id, LATEST, entity_id=entity_id, until=until
    )
    return AgentReport(among, row, runs, budgets)


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> AgentReport:
    for name in ("customer", "agent"):
        if not asked.options[name]:
            raise InvalidInputError(
                f"{name}: found nothing.", "Name a customer and its agent.", name
            )
    return await agent_report(connection, scope, asked.options["customer"], asked.options["agent"])


def _to_json(report: AgentReport) -> Mapping[str, object]:
    margin = report.among.margin
    return {
        **margin.of_what(),
        "currency": margin.currency,
        "missing": margin.missing,
        "agent": use_of(report.among, report.row),
        "latest_runs": [run._asdict() for run in report.runs],
        "budgets": [budget._asdict() for budget in report.budgets],
    }


def _show(report: AgentReport, _: Asked) -> Iterator[Shown]:
    margin, row = report.among.margin, report.row
    if margin.missing is not None:
        yield Warned(f"Costs are unknown: {margin.missing}")
    unknown = margin.missing is not None
    figures = [
        ("requests", row.used.requests),
        ("tokens", row.tokens),
        ("% of all tokens", known(report.among.demand_pct(row))),
        (f"revenue {margin.currency}", plain(row.used.revenue)),
        (f"cost {margin.currency}", None if unknown else plain(row.used.cost)),
        ("% of all cost", known(report.among.cost_pct(row))),
        ("runs", row.runs.runs),
        ("of them running", row.runs.running),
    ]
    yield ReportTable(f"Agent {row.agent} of {row.customer}", ("what", "value"), figures, numbers=1)
    columns = (
        *("run", "started by", "first", "last", "extras"),
        *("lasted s", "steps", "requests", "input", "output"),
    )
    runs = [
        (
            *(run.agent_run_id, run.parent_run_id, run.first_at, run.last_at),
            ", ".join(f"{count} {meter}" for meter, count in sorted(run.extras.items())),
            *(run.lasted_s, run.steps, run.requests, run.input_tokens, run.output_tokens),
        )
        for run in report.runs
    ]
    yield ReportTable("Runs, those used last first", columns, runs, numbers=5)
    yield _budgets(report.budgets)


def _budgets(budgets: Sequence[AgentBudget]) -> ReportTable:
    columns = ("budget", "run", "period", "since", "unit", "hard", "used", "held", "ceiling")
    rows = [
        (
            *(each.budget_id, each.agent_run_id, each.period, each.period_start),
            *(each.currency or each.unit, "yes" if each.hard else "no"),
            *(plain(each.used), plain(each.held), plain(each.ceiling)),
        )
        for each in budgets
    ]
    return ReportTable("Budgets", columns, rows, numbers=3)


AGENT = PeriodReport(
    "agent",
    "/v1/agent",
    "One agent of a customer: what it used, earned and cost, its share of both, its latest runs and"
    " its budgets.",
    OneAgent,
    _read,
    _to_json,
    _show,
    options=(
        ReportOption("customer", "", "Whose agent; must be named."),
        ReportOption("agent", "", "Which agent; must be named."),
    ),
)
