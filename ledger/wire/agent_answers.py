"""The shapes of answers about agents and their runs, as the OpenAPI document says them."""

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Moment, Number


class AgentUse(ClosedModel):
    """An agent of a customer; an empty id is what names no agent. A cost of null is unknown;
    `running` are runs used in the last hour of the period, or before now where it is not over;
    `longest_s` is the longest of them all."""

    customer_id: str
    agent_id: str
    requests: int
    input_tokens: int | None
    output_tokens: int | None
    demand_pct: Number | None
    revenue: Amount
    cost: Amount | None
    cost_pct: Number | None
    runs: int
    child_runs: int
    running: int
    longest_s: int
    most_steps: int


class Agents(ClosedModel):
    """Agents of an entity, those that cost most first; `missing` says what cost lacks."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    currency: Currency
    missing: str | None
    agents: list[AgentUse]


class RunOfAgent(ClosedModel):
    """A run in a period: who started it, when it was used first and last, and what it used."""

    agent_run_id: str
    parent_agent_id: str | None
    parent_run_id: str | None
    first_at: Moment | None
    last_at: Moment | None
    lasted_s: int | None
    steps: int
    requests: int
    input_tokens: int
    output_tokens: int
    extras: dict[str, int]


class BudgetOfAgent(ClosedModel):
    """What an agent may use, or one run of it where `agent_run_id` is not empty, in the period that
    began last; `hard` refuses reservations beyond it."""

    budget_id: str
    agent_run_id: str
    period: str
    period_start: Moment
    unit: str
    currency: Currency | None
    hard: bool
    used: Number
    held: Number
    ceiling: Number


class OneAgent(ClosedModel):
    """One agent: what it used and cost and its share of both, its latest runs and its budgets."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    currency: Currency
    missing: str | None
    agent: AgentUse
    latest_runs: list[RunOfAgent]
    budgets: list[BudgetOfAgent]


class AgentRun(ClosedModel):
    """A run of an agent: who started it, when it was used first and last, and what it comes to.

    `child_runs` it started itself. `times_usual` is how long it lasted beside the mean of that
    agent's other runs, null of fewer than five: a run that never ends is far above 1, and
    `running` as long as it was used within the hour.
    """

    customer_id: str
    agent_id: str
    agent_run_id: str
    parent_agent_id: str | None
    parent_run_id: str | None
    child_runs: int
    steps: int
    first_at: Moment | None
    last_at: Moment | None
    lasted_s: int
    times_usual: Number | None
    running: bool
    requests: int
    input_tokens: int
    output_tokens: int
    extras: dict[str, int]
    currency: Currency | None
    amount: Amount | None
