"""The shape of what a cost came from: lines, pools, meters, readings, usage, prices and terms."""

from typing import Literal

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Moment, Number


class WindowCost(ClosedModel):
    """A cost line of the quarter hour; one of nobody's usage has no key and names nobody.

    `cut_off_id` is the cut-off up to which its inputs were read.
    """

    line: Literal["usage", "idle", "unattributed", "unclaimed"]
    usage_key: str | None
    customer_id: str | None
    customer_ref: str | None
    agent_id: str | None
    tier: str | None
    model: str | None
    revision: int
    cut_off_id: int
    weight_version: int
    gpu_terms: Literal["owned", "lease", "none"]
    busy_s: int
    device_metered_mj: int
    device_estimated_mj: int
    host_mj: int
    overhead_mj: int
    device_cost: Amount
    overhead_cost: Amount
    gpu_cost: Amount
    cost: Amount


class WindowPool(ClosedModel):
    """What the quarter hour cost in one kind, before anybody was charged."""

    kind: Literal["electricity", "gpu"]
    amount: Amount
    revision: int


class WindowMeter(ClosedModel):
    """A GPU's energy in the quarter hour, the seconds it is known for, and what was noticed."""

    gpu_uuid: str
    revision: int
    metered_mj: int
    estimated_mj: int
    covered_s: int
    findings: list[str]


class WindowEstimate(ClosedModel):
    """What a GPU is taken to have drawn in so many slots of the quarter hour of which no meter says
    it, by which weight set, and between what that lies by its evidence; of a GPU that several
    deployments have the same for the set of each."""

    gpu_uuid: str
    weight_set_id: str
    version: int
    slots: int
    energy_mj: int
    low_mj: int
    high_mj: int


class EnergyReading(ClosedModel):
    """A reading of a GPU's counter, in the quarter hour or its neighbour on either side."""

    gpu_uuid: str
    epoch: str
    sampled_at: Moment
    energy_mj: int
    power_mw: int | None
    method: str
    quality: str
    boot_id: str | None
    driver_load: str | None
    monotonic_us: int | None
    source: str


class EngineActivity(ClosedModel):
    """Tokens that one usage key's work took on the scope's engines."""

    usage_key: str
    engine_instance: str
    uncached: int
    cache_read: int
    cache_write: int
    output: int


class ServingDeployment(ClosedModel):
    """GPUs of an asset that served a model, `gpu_parts` of 7,000,000 of each, and the weights in
    force, of which set and source."""

    deployment_id: str
    entity_id: str
    asset_id: str
    model: str
    tier: str | None
    gpu_count: int
    gpu_uuids: list[str]
    engine_instances: list[str]
    valid_from: Moment
    valid_to: Moment | None
    weight_version: int
    weight_uncached: int
    weight_cache_read: int
    weight_cache_write: int
    weight_output: int
    weight_context: int
    weight_step: int
    idle_mw_per_gpu: int | None
    slot_s: int
    prefill_chunk: int | None
    instance_gpus: dict[str, list[str]]
    gpu_parts: int
    mig_slices: list[str]
    gpu_split: str
    weight_set_id: str | None
    weight_source: str


class AssetEvidence(ClosedModel):
    """What the hardware costs: owned (bought, with a life) or leased, in its own currency."""

    asset_id: str
    entity_id: str
    facility_id: str
    name: str
    terms: str
    gpu_count: int
    currency: Currency
    purchase_price: Amount | None
    residual_value: Amount | None
    in_service: Moment | None
    life_months: int | None
    gpu_hour_rate: Amount | None
    all_in: bool
    valid_from: Moment
    valid_to: Moment | None
    method: str
    rate_percent: Number | None


class SiteUplift(ClosedModel):
    """What the site adds to a GPU's energy."""

    facility_id: str
    pue: Number
    host_mw_per_gpu: int
    valid_from: Moment
    valid_to: Moment | None


class PowerPrice(ClosedModel):
    """What one MWh costs at the site."""

    facility_id: str
    tariff_id: str
    currency: Currency
    price_per_mwh: Amount
    valid_from: Moment
    valid_to: Moment


class CostEvidence(ClosedModel):
    """Cost lines of a scope in one quarter hour, and everything they came from."""

    entity_id: str
    scope: str
    since: Moment
    until: Moment
    cut_off_id: int
    currency: Currency
    lines: list[WindowCost]
    pools: list[WindowPool]
    meters: list[WindowMeter]
    estimates: list[WindowEstimate]
    readings: list[EnergyReading]
    activity: list[EngineActivity]
    deployment: ServingDeployment | None
    asset: AssetEvidence | None
    asset_history: list[AssetEvidence]
    uplift: SiteUplift | None
    prices: list[PowerPrice]
