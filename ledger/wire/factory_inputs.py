"""What people enter of the factory: its sites, hardware, and what serves which model on it."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ledger.wire.errors import problem_at
from ledger.wire.fields import Name, Names
from ledger.wire.input_fields import (
    SLOT_SECONDS,
    Currency,
    Gain,
    Gpus,
    GpuShare,
    GridInstant,
    Identifier,
    Label,
    Positive,
    Price,
    Pue,
    SlotSeconds,
    Whole,
    YearlyPercent,
    Zone,
)
from ledger.wire.inputs import DatedInput, InputModel
from ledger.wire.limits import VALUES_MAX


class NewFacility(InputModel):
    """A site of an entity, in its local time zone."""

    facility_id: Identifier
    entity_id: Identifier
    name: Name
    zone: Zone


class NewPue(DatedInput):
    """What a site adds: facility ÷ IT energy (at least 1), and host power per GPU in milliwatts."""

    facility_id: Identifier
    pue: Pue
    host_mw_per_gpu: Annotated[int, Field(ge=0, le=10_000_000)] = 0


class NewEnergyMeter(DatedInput):
    """What a meter measures (a GPU, the host of `gpu_uuids`, a site's IT load or all), and its
    calibration: true is `gain` times what the counter grew, and `offset_mw` all the while."""

    meter: Identifier
    facility_id: Identifier
    measures: Literal["gpu", "host", "it", "facility"] = "gpu"
    gpu_uuids: Names = ()
    gain: Gain = Decimal(1)
    offset_mw: Annotated[int, Field(ge=-10_000_000, le=10_000_000)] = 0

    @model_validator(mode="after")
    def _host_has_gpus(self) -> Self:
        if self.measures == "host" and not self.gpu_uuids:
            raise problem_at("gpu_uuids", [], "name the GPUs of the host")
        return self


class NewAsset(DatedInput):
    """GPUs that cost money: owned (price, residual, life in months) or leased per GPU-hour.

    What is owned costs the same each day, with interest of `rate_percent` a year where its method
    is capital recovery, or declines by so much of what is left.

    An `all_in` lease pays for its power, so no tariff and no energy are asked for. `gpu_type` is
    what GPUs are ranked by, and says which slices of MIG they have, such as H200.
    """

    asset_id: Identifier
    entity_id: Identifier
    facility_id: Identifier
    name: Name
    terms: Literal["owned", "lease"]
    gpu_count: Gpus
    currency: Currency
    purchase_price: Price | None = None
    residual_value: Price | None = None
    in_service: GridInstant | None = None
    life_months: Annotated[int, Field(ge=1, le=1_200)] | None = None
    gpu_hour_rate: Price | None = None
    all_in: bool = False
    method: Literal["straight_line", "capital_recovery", "declining"] = "straight_line"
    rate_percent: YearlyPercent | None = None
    gpu_type: Name | None = None

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        even = self.method == "straight_line"
        if even != (self.rate_percent is None):
            action = "leave it out" if even else "send it"
            raise problem_at("rate_percent", self.rate_percent, f"{action} with {self.method}")
        if self.terms == "lease" and not even:
            raise problem_at("method", self.method, "leave it out with terms lease")
        return self

    @model_validator(mode="after")
    def _check_terms(self) -> Self:
        bought = ("purchase_price", "residual_value", "in_service", "life_months")
        leased = ("gpu_hour_rate",)
        wanted, foreign = (bought, leased) if self.terms == "owned" else (leased, bought)
        for name in wanted:
            if getattr(self, name) is None:
                raise problem_at(name, "nothing", f"send it with terms {self.terms}")
        for name in foreign:
            if getattr(self, name) is not None:
                given = getattr(self, name)
                raise problem_at(name, given, f"leave it out with terms {self.terms}")
        if self.all_in and self.terms == "owned":
            raise problem_at("all_in", True, "leave it out with terms owned: we pay the power")
        return self._check_residual()

    def _check_residual(self) -> Self:
        price, rest = self.purchase_price, self.residual_value
        if price is not None and rest is not None and rest > price:
            raise problem_at("residual_value", rest, f"send at most the purchase price {price}")
        return self


class NewWeights(InputModel):
    """What a token of each kind takes, relative to each other: such as microjoules.

    `context` is of an output token for each 1,000 tokens it looks back on; `step` is of a step of
    the engine, shared by all who write in it.
    """

    version: Positive = 1
    uncached: Whole = 1
    cache_read: Whole = 0
    cache_write: Whole = 1
    output: Whole = 5
    context: Whole = 0
    step: Whole = 0


class NewDeployment(DatedInput):
    """Which GPUs of an asset serve a model on a tier (None: any), by which engine instances.

    Where GPUs are named their number is `gpu_count`; without instances the deployment takes usage
    of its model that names no known one. `instance_gpus` says which of the GPUs an instance runs
    on: what these draw is for what ran there. Of each GPU the deployment has `gpu_share`, or its
    `mig_slices`; others may have the rest, and what runs is told apart by `gpu_split`. At rest a
    GPU draws `idle_mw_per_gpu`, as measured; what ran is weighed in slots of `slot_s` seconds. A
    step reads `prefill_chunk` tokens of a prompt at most, where the engine is set so.
    """

    deployment_id: Identifier
    asset_id: Identifier
    model: Label
    tier: Label | None = None
    gpu_count: Gpus | None = None
    gpu_uuids: Names = ()
    engine_instances: Names = ()
    weights: NewWeights = NewWeights()
    idle_mw_per_gpu: Whole | None = None
    slot_s: SlotSeconds = SLOT_SECONDS
    prefill_chunk: Positive | None = None
    instance_gpus: Annotated[dict[Label, Names], Field(default_factory=dict, max_length=VALUES_MAX)]
    gpu_share: GpuShare = Decimal(1)
    mig_slices: Names = ()
    gpu_split: Literal["share", "busy_time", "weights"] = "share"

    @model_validator(mode="after")
    def _check_gpus(self) -> Self:
        named = len(self.gpu_uuids)
        if self.gpu_count is None and not named:
            raise problem_at("gpu_count", "nothing", "send it, or name the GPUs in gpu_uuids")
        if self.gpu_count is not None and named and named != self.gpu_count:
            raise problem_at("gpu_count", self.gpu_count, f"send {named}: so many GPUs are named")
        for field in ("gpu_uuids", "engine_instances"):
            names = getattr(self, field)
            if len(set(names)) != len(names):
                raise problem_at(field, "a name twice", "send each name once")
        return self

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        if self.mig_slices and self.gpu_share != 1:
            raise problem_at("gpu_share", self.gpu_share, "leave it out with mig_slices")
        if self.gpu_split != "share" and not self.gpu_uuids:
            raise problem_at("gpu_split", self.gpu_split, "name the GPUs in gpu_uuids")
        apart = sum(len(gpus) for gpus in self.instance_gpus.values()) == len(self.gpu_uuids)
        if self.gpu_split != "share" and len(self.engine_instances) > 1 and not apart:
            action = "say in instance_gpus which GPUs each engine instance runs on"
            raise problem_at("gpu_split", self.gpu_split, action)
        return self

    @model_validator(mode="after")
    def _check_instance_gpus(self) -> Self:
        named = [gpu for gpus in self.instance_gpus.values() for gpu in gpus]
        unknown = {*self.instance_gpus} - {*self.engine_instances} or {*named} - {*self.gpu_uuids}
        if unknown:
            action = "name it in engine_instances or gpu_uuids as well"
            raise problem_at("instance_gpus", min(unknown), action)
        if len({*named}) != len(named) or not all(self.instance_gpus.values()):
            action = "send each GPU under one instance, and none without any"
            raise problem_at("instance_gpus", self.instance_gpus, action)
        if self.instance_gpus and len(named) == len(self.gpu_uuids):
            bare = {*self.engine_instances} - {*self.instance_gpus}
            if bare:
                raise problem_at("instance_gpus", min(bare), "leave it a GPU, or leave it out")
        return self

    @property
    def gpus(self) -> int:
        """How many GPUs serve."""
        return self.gpu_count or len(self.gpu_uuids)
