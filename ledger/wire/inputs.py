"""What people enter by API, command line or file, as strict models: the slow facts of the ledger.

Decimals come as text or whole numbers, never as floats; times as RFC 3339 with an offset; validity
starts and ends on quarter hours of UTC. Unknown fields are refused, so that a typo is no default.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ledger.wire.errors import InputError, problem_at
from ledger.wire.fields import NAME_CHARS_MAX, Name, Names
from ledger.wire.input_fields import (
    SLOT_SECONDS,
    Currency,
    Day,
    DayOrInstant,
    Gain,
    Gpus,
    GpuShare,
    GridInstant,
    Identifier,
    Label,
    Positive,
    PositiveRate,
    Price,
    Pue,
    Reason,
    SlotSeconds,
    Text,
    Whole,
    YearlyPercent,
    Zone,
)
from ledger.wire.limits import VALUES_MAX
from ledger.wire.problems import list_problems
from ledger.wire.rules import SizeRule


class InputModel(BaseModel):
    """Base of what is entered by hand: strict, unknown fields refused, unchangeable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DatedInput(InputModel):
    """Valid in [valid_from, valid_to), both on quarter hours of UTC; without an end it stays."""

    valid_from: GridInstant
    valid_to: GridInstant | None = None

    @model_validator(mode="after")
    def _check_period(self) -> Self:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            until = self.valid_to.isoformat()
            raise problem_at("valid_to", until, f"send a time after {self.valid_from.isoformat()}")
        return self


# What may end, as the API's paths have it.
EndingKind = Literal[
    "aliases",
    "assets",
    "budgets",
    "deployments",
    "dunning-policies",
    "energy-meters",
    "idle-policies",
    "prices",
    "pues",
    "site-costs",
    "subscriptions",
    "tax-rates",
    "tax-registrations",
    "tax-treatments",
    "top-up-rules",
    "weight-sets",
]


class EndAsk(DatedInput):
    """From when on what is recorded under an id is so no longer, or until when it pauses.

    Where the id has several, as a rate card has prices, `of` has fields that tell which is meant;
    null is one that says nothing.
    """

    kind: EndingKind
    id: Label
    of: Mapping[str, str | int | None] = Field(default_factory=dict, max_length=VALUES_MAX)


class NewAlias(DatedInput):
    """A name that a gateway, CRM or ERP uses for a customer."""

    alias: Label
    customer_id: Identifier


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


class NewSubscription(DatedInput):
    """A customer on a rate card; billing periods start on `anchor_day`, midnight in `zone`, or on
    the last day of a month that has no such day.

    Without a zone it is the entity's. With `models` it is for these, or all that begin so where one
    ends with *: a customer may have several at once whose models do not overlap.
    """

    subscription_id: Identifier
    customer_id: Identifier
    rate_card_id: Identifier
    zone: Zone | None = None
    anchor_day: Annotated[int, Field(ge=1, le=31)] = 1
    models: Names = ()


class FxRate(InputModel):
    """One unit of `base` costs `rate` units of `quote` on a day, says `source`."""

    base: Currency
    quote: Currency
    day: Day
    rate: PositiveRate
    source: Name

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if self.base == self.quote:
            raise problem_at("quote", self.quote, "send another currency than base")
        return self


class NewFxRates(InputModel):
    """Exchange rates of some days."""

    rates: Annotated[tuple[FxRate, ...], SizeRule(), Field(min_length=1, max_length=100_000)]


class Dismissal(InputModel):
    """Why nobody waits any more for something that was refused."""

    reason: Reason


class SuspenseDismissal(InputModel):
    """Why nobody will ever own what waits under a name; the empty text is events without one."""

    customer_ref: Annotated[str, Field(max_length=NAME_CHARS_MAX)]
    reason: Reason


class ConflictResolution(InputModel):
    """Which side of a conflict it was, and why; `id` is the one it is to have, if sent again."""

    resolution: Literal["kept", "corrected", "resent"]
    reason: Reason
    id: Name | None = None


class InvoiceAsk(InputModel):
    """Which invoice: of the billing period that holds `at`, a moment or a day of its zone; and what
    issuing it lets pass: usage without a price, a period that is not over, a second run."""

    subscription_id: Identifier
    at: DayOrInstant
    allow_unpriced: bool = False
    allow_open_period: bool = False
    supplementary: bool = False


class InvoiceRunAsk(InputModel):
    """All invoices of an entity, of the billing periods that hold `at`, a moment or a day of each
    subscription's zone; what issuing them lets pass, and whose go out though they are held, why."""

    entity_id: Identifier
    at: DayOrInstant
    allow_unpriced: bool = False
    allow_open_period: bool = False
    release: Names = ()
    reason: Text = ""

    @model_validator(mode="after")
    def _released_with_a_reason(self) -> Self:
        if self.release and not self.reason:
            raise problem_at("reason", "no reason", "say why what is held goes out")
        return self


class NewApiKey(InputModel):
    """A key of one role: ingest keys name their sources, customer keys their customer.

    `tier` is what usage sent under an ingest key was served on where the event does not say.
    """

    role: Literal["admin", "finance", "ingest", "customer"]
    name: Text = ""
    entity_id: Identifier | None = None
    customer_id: Identifier | None = None
    sources: Names = ()
    customers: Names = ()
    tier: Label | None = None

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        if (self.role == "customer") != (self.customer_id is not None):
            action = "send the customer of a customer key, and of no other"
            raise problem_at("customer_id", self.customer_id, action)
        if self.role == "ingest" and not self.sources:
            raise problem_at("sources", "nothing", "name the sources an ingest key may write")
        if self.role != "ingest":
            self._check_not_ingest()
        return self

    def _check_not_ingest(self) -> None:
        for field in ("sources", "customers", "tier"):
            if getattr(self, field):
                raise problem_at(field, getattr(self, field), "leave it out: only ingest keys have")


M = TypeVar("M", bound=InputModel)


def read_input(model: type[M], raw: object) -> M:
    """Read decoded JSON; raises InputError with every problem found."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise InputError(list_problems(error)) from error


def read_field(model: type[BaseModel], name: str, value: object) -> object:
    """A value as a field of a model would have it; raises InputError that points to `of`."""
    info = model.model_fields.get(name)
    if info is None:
        return value
    try:
        read: object = TypeAdapter(info.rebuild_annotation()).validate_python(value)
    except ValidationError as error:
        problems = [replace(each, field=f"of.{name}") for each in list_problems(error)]
        raise InputError(problems) from error
    return read


def read_texts(model: type[M], cells: Mapping[str, str]) -> M:
    """Read a row of CSV; raises InputError.

    An empty cell is a field left out, `;` parts a list, `weights.output` is a field of a field, and
    `a=1; b=2` says values of names: where a name has several, blanks part them.
    """
    return read_input(model, typed_texts(model, cells))


def typed_texts(model: type[BaseModel], cells: Mapping[str, str]) -> dict[str, Any]:
    """The cells that are not empty, as values of the kinds their fields take."""
    typed: dict[str, Any] = {}
    nested: dict[str, dict[str, str]] = {}
    for name, text in cells.items():
        first, _, rest = name.partition(".")
        inner = _field_type(model, first)
        if not text:
            continue
        if rest and isinstance(inner, type) and issubclass(inner, BaseModel):
            nested.setdefault(first, {})[rest] = text
        else:
            typed[name] = _cell(inner, text)
    for first, of_field in nested.items():
        typed[first] = typed_texts(_field_type(model, first), of_field)
    return typed


def _field_type(model: type[BaseModel], name: str) -> Any:
    info = model.model_fields.get(name)
    if info is None:
        return None
    choices = [each for each in get_args(info.annotation) if each is not NoneType]
    kind = choices[0] if len(choices) == 1 else info.annotation
    return _bare(kind)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _cell(kind: Any, text: str) -> Any:
    if kind is int and text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20:
        return int(text)
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if get_origin(kind) is tuple:
        inner = _bare(get_args(kind)[0])
        return [_cell(inner, part.strip()) for part in text.split(";") if part.strip()]
    if get_origin(kind) is dict:
        return _by_name(text, several=get_origin(_bare(get_args(kind)[1])) is tuple)
    return text


def _by_name(text: str, *, several: bool) -> dict[str, str | list[str]] | str:
    """Values by name; the text itself where a name is missing or said twice."""
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    said: dict[str, str | list[str]] = {
        name.strip(): value.split() if several else value.strip() for name, _, value in pairs
    }
    is_whole = len(said) == len(pairs) and all(equals for _, equals, _ in pairs)
    return said if is_whole else text
