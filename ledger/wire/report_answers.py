"""The shapes of reports: usage, charges, margin, energy, coverage and how the ledger stands."""

from typing import Literal

from pydantic import Field

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day, Moment, Number
from ledger.wire.batch_answers import EndedSession, OpenBatch, Unmerged, Unsummed
from ledger.wire.budget_answers import BudgetAlert
from ledger.wire.calibration_answers import DriftedWeights
from ledger.wire.causes import Cause
from ledger.wire.credit_answers import LowBalance
from ledger.wire.interval_answers import MarginInterval
from ledger.wire.plausible_answers import BillOff, ImplausibleWork
from ledger.wire.site_answers import MarginSites
from ledger.wire.stage_answers import Parked, StageState, WorkState

# A field that is not there, where it is not asked for.
NOT_ASKED: str = Field(default_factory=str)


class Marks(ClosedModel):
    """How many of the requests are no final count, by what they lack."""

    requests: int
    estimated: int
    incomplete: int
    input_unknown: int
    output_unknown: int
    cached_unknown: int
    written_unknown: int
    reasoning_unknown: int


class Group(ClosedModel):
    """What a row is of: the dimensions that were asked for, and no others."""

    customer: str = NOT_ASKED
    model: str = NOT_ASKED
    tier: str = NOT_ASKED
    agent: str = NOT_ASKED
    project: str = NOT_ASKED
    api_key: str = NOT_ASKED
    adapter: str = NOT_ASKED
    region: str = NOT_ASKED
    outcome: str = NOT_ASKED
    meter: str = NOT_ASKED
    window: Moment = NOT_ASKED
    hour: Moment = NOT_ASKED
    day: Moment = NOT_ASKED


class UsageCounts(Marks):
    """Requests and tokens; a count that no request said is unknown, null."""

    input_tokens: int | None
    output_tokens: int | None
    uncached: int | None
    cache_read: int | None
    cache_write: int | None
    visible: int | None
    reasoning: int | None


class UsageRow(UsageCounts, Group):
    """Requests and tokens of one group."""


class UsageReport(ClosedModel):
    """A page of the usage of a period by the dimensions asked for, days and hours in `zone`."""

    since: Moment
    until: Moment
    zone: str
    cut_off_id: int
    by: list[str]
    items: list[UsageRow]
    total: UsageCounts
    next: str | None


class ExtraRow(Group):
    """What one group counts of one meter."""

    meter: str
    quantity: int


class ExtrasReport(ClosedModel):
    """A page of the extras of a period by the dimensions asked for, days and hours in `zone`."""

    since: Moment
    until: Moment
    zone: str
    cut_off_id: int
    by: list[str]
    items: list[ExtraRow]
    next: str | None


class ChargeRow(Group):
    """What one group's usage comes to in one currency; without a price both are null."""

    currency: Currency | None
    amount: Amount | None
    quantity: int
    unpriced_quantity: int


class ChargesReport(ClosedModel):
    """A page of the charges of a period by the dimensions asked for, days and hours in `zone`."""

    since: Moment
    until: Moment
    zone: str
    cut_off_id: int
    by: list[str]
    items: list[ChargeRow]
    next: str | None


class Hour(ClosedModel):
    """Revenue and cost of an hour or day in one currency; no cost is unknown."""

    hour: Moment
    currency: Currency
    revenue: Amount
    cost: Amount | None
    idle: Amount | None


class Activity(ClosedModel):
    """When usage began and ended; null where there is none."""

    since: Moment | None
    until: Moment | None


class MarginRow(Group):
    """One group, or the total: usage, energy, cost and revenue; what no cost says is null."""

    requests: int
    input_tokens: int | None
    input_uncached: int | None
    input_cache_read: int | None
    input_cache_write: int | None
    output_tokens: int | None
    device_metered_mj: int | None
    device_estimated_mj: int | None
    host_mj: int | None
    overhead_mj: int | None
    energy_mj: int | None
    energy_kwh: Number | None
    joules_per_output_token: Number | None
    electricity: Amount | None
    gpu_cost: Amount | None
    cost_before_idle: Amount | None
    idle_share: Amount | None
    site_share: Amount | None
    cost: Amount | None
    revenue: Amount
    unpriced_tokens: int
    gross_margin_before_idle_pct: Number | None
    gross_margin_pct: Number | None
    markup_pct: Number | None
    interval: MarginInterval | None = None


class OwnLine(ClosedModel):
    """Energy and cost that are no usage's, and why."""

    line: str
    scope: str
    cause: Cause
    device_metered_mj: int
    device_estimated_mj: int
    energy_mj: int
    energy_kwh: Number
    electricity: Amount
    gpu_cost: Amount
    cost: Amount
    shared_by_nobody: Amount


class Conservation(ClosedModel):
    """That nothing was lost: both residuals are 0."""

    metered_mj: int
    estimated_mj: int
    metered_pct: Number | None
    energy_residual_mj: int
    cost_residual: Amount


class Conversion(ClosedModel):
    """A published rate that amounts were converted by."""

    base: Currency
    quote: Currency
    published: Day
    multiplier: Number
    divisor: Number
    source: str


class IdlePolicyInForce(ClosedModel):
    """Who pays for idle of a scope, null of every deployment that no other names, and from when to
    when; `reserved` is each tier's share."""

    scope: str | None
    version: int
    method: str
    reserved: dict[str, Number]
    valid_from: Moment
    valid_to: Moment | None


class Margin(MarginSites):
    """Cost beside revenue, all in `currency`; `missing` says what a cost lacks that is null."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    currency: Currency
    missing: str | None
    by: list[str]
    items: list[MarginRow]
    own_lines: list[OwnLine]
    total: MarginRow
    energy_mj: int | None
    energy_kwh: Number | None
    idle_policy: str
    idle_policies: list[IdlePolicyInForce]
    idle_cost: Amount | None
    unattributed_cost: Amount | None
    conservation: Conservation | None
    conversions: list[Conversion]
    implausible: list[ImplausibleWork]


class EnergyRow(ClosedModel):
    """Energy of one model or scope; output tokens are known by model."""

    name: str
    output_tokens: int | None
    busy_mj: int
    idle_mj: int
    unattributed_mj: int
    energy_mj: int
    energy_kwh: Number
    device_metered_mj: int
    device_estimated_mj: int
    joules_per_output_token: Number | None


class MeterFinding(ClosedModel):
    """What was noticed about a GPU's meter, in how many quarter hours."""

    gpu_uuid: str
    reason: str
    meaning: str
    windows: int
    first_window: Moment
    last_window: Moment


class MeterGap(ClosedModel):
    """What a collector told of a GPU's meter: why it gave no reading, from when to when."""

    gpu_uuid: str
    reason: str
    meaning: str
    since: Moment
    until: Moment
    detail: str | None
    source: str


class Energy(ClosedModel):
    """Energy and tokens, by model and by scope."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    by_model: list[EnergyRow]
    by_scope: list[EnergyRow]
    findings: list[MeterFinding]
    meter_gaps: list[MeterGap]


class EnergyCoverage(ClosedModel):
    """GPU-seconds of a deployment, and those with readings; `asked` where its cost needs them."""

    deployment_id: str
    deployed_gpu_s: int
    covered_gpu_s: int
    asked: bool


class UsageCoverage(ClosedModel):
    """Tokens, and those that a deployment served; `unclaimed` says which it did not."""

    tokens: int
    served_tokens: int
    unclaimed: list[str]


class EngineHour(ClosedModel):
    """What an engine counted in an hour beside what events said; `flags` say why it is unsure, and
    null is a counter that it did not show."""

    engine_instance: str
    hour: Moment
    engine_input: int | None
    event_input: int
    engine_output: int | None
    event_output: int
    flags: list[str]


class ReconciledSide(ClosedModel):
    """Tokens in or out: what at most each cause makes of the difference, null where its size is
    unknown, and what is left when all have taken their most."""

    engine: int | None
    events: int
    difference: int | None
    causes: dict[str, int | None]
    unexplained: int | None
    over: bool


class ReconciledHour(ClosedModel):
    """An engine in an hour beside events, with requests as each of both counts them."""

    engine_instance: str
    hour: Moment
    input: ReconciledSide
    output: ReconciledSide
    requests: int | None
    event_requests: int
    flags: list[str]


class Engines(ClosedModel):
    """Engines beside events."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    engines: list[ReconciledHour]


class Coverage(ClosedModel):
    """What meters and deployments cover."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    energy: list[EnergyCoverage]
    usage: UsageCoverage
    engines: list[EngineHour]
    stray_gpus: list[str]
    findings: list[MeterFinding]
    meter_gaps: list[MeterGap]


class NoCoverage(ClosedModel):
    """An entity whose coverage cannot be said, and what it lacks."""

    entity_id: str
    missing: str


class Fates(ClosedModel):
    """What became of what arrived; the fates add up to `received`."""

    received: int
    counted: int
    duplicate: int
    conflict: int
    quarantined: int
    superseded: int
    suspense: int


class SourceState(ClosedModel):
    """A source: what arrived of it by fate, and when last; without a form it was always refused."""

    source: str
    form: Literal["sequenced", "keyed"] | None
    received: int | None
    counted: int | None
    duplicate: int | None
    conflict: int | None
    quarantined: int | None
    superseded: int | None
    suspense: int | None
    last_received_at: Moment | None
    last_event_at: Moment | None
    silent_s: int | None


class SequenceGap(ClosedModel):
    """Numbers that are missing inside what a producer sent; with a bound key, of its `owner`."""

    source: str
    producer: str
    epoch: int
    owner: str
    first_missing: int
    last_missing: int


class KafkaPosition(ClosedModel):
    """How far a partition was read."""

    topic: str
    partition: int
    next_offset: int


class KafkaGap(ClosedModel):
    """Offsets that the broker no longer had."""

    topic: str | None
    partition: int
    from_offset: int
    to_offset: int
    noticed_at: Moment


class Unpriced(ClosedModel):
    """Usage of the days that begin at `first_day` to `last_day` that waits for a price, and why."""

    customer_id: str
    model: str
    tier: str
    meter: str
    reason: str
    quantity: int
    first_day: Moment
    last_day: Moment


class UnpricedOfEntity(Unpriced):
    """Usage of an entity that waits for a price, and why."""

    entity_id: str


class Suspended(ClosedModel):
    """What waits under a name that nobody knows."""

    customer_ref: str
    first_window: Moment
    last_window: Moment
    requests: int
    input_tokens: int
    output_tokens: int


class Status(ClosedModel):
    """How the ledger stands."""

    now: Moment
    sources: list[SourceState]
    fates: Fates
    suspense: list[Suspended]
    unpriced: list[UnpricedOfEntity]
    quarantined: int
    dead_letters: int
    conflicts: int
    sequence_gaps: list[SequenceGap]
    kafka_positions: list[KafkaPosition]
    kafka_gaps: list[KafkaGap]
    stages: list[StageState]
    work: list[WorkState]
    parked: list[Parked]
    open_batches: list[OpenBatch]
    unsummed: Unsummed
    unmerged: Unmerged
    ended_sessions: list[EndedSession]
    budget_alerts: list[BudgetAlert]
    low_balances: list[LowBalance]
    drifted_weights: list[DriftedWeights]
    implausible_work: list[ImplausibleWork]
    bills_off: list[BillOff]
    coverage: list[Coverage | NoCoverage]
    usage: Marks
