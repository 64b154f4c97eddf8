"""The shapes of energy, of engines beside events, and of what meters and deployments cover."""

from ledger.wire.answer_fields import ClosedModel, Moment, Number


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
