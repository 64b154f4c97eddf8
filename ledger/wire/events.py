"""CloudEvents 1.0 as sent here: the envelope, the five types and why one is refused."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from ledger.wire.errors import EventError, Problem, shorten
from ledger.wire.fields import (
    Count,
    DecimalText,
    EnergyMj,
    Instant,
    Name,
    TagKey,
    TagValue,
    WireModel,
    list_as_tuple,
    problem,
    problem_at,
)
from ledger.wire.limits import (
    CORRECTION,
    COUNTERS,
    ENERGY,
    LABELS_MAX,
    RESERVATION,
    USAGE,
    VALUES_MAX,
)
from ledger.wire.problems import list_problems
from ledger.wire.units import BLANK_VALUE_MIN
from ledger.wire.usage import UsageData

# How far ahead of the ledger's clock an event's `time` may lie; checked there, not here.
FUTURE_TOLERANCE = timedelta(minutes=5)

EnergyMethod = Literal["nvml_counter", "dcgm", "power_integral"]
EnergyQuality = Literal["good", "estimated", "suspect"]
EnergyScope = Literal["gpu", "module"]


def _json_type(text: str) -> str:
    media_type = text.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise problem("send application/json")
    return text


def _parent_uuid(text: str) -> str:
    if text.startswith("MIG-"):
        raise problem(
            "send the UUID of the parent GPU: a MIG slice has no energy counter of its own"
        )
    return text


def _counter_value(value: Decimal) -> Decimal:
    if value < 0 or value >= BLANK_VALUE_MIN:
        raise problem("send a counter in 0..2**62-1")
    return value


class Envelope(WireModel):
    """The CloudEvents attributes of every event; (source, id) is the idempotency key if keyed."""

    specversion: Literal["1.0"]
    id: Name
    source: Name
    type: Name
    time: Instant
    subject: Name | None = None
    datacontenttype: Annotated[str, AfterValidator(_json_type)] | None = None
    dataschema: Name | None = None
    traceparent: Name | None = None
    partitionkey: Name | None = None
    recordedtime: Instant | None = None


class UsageEvent(Envelope):
    """One attempt's usage; `time` is its end and decides the billing window."""

    type: Literal["inference.usage.v1"]
    data: UsageData

    @property
    def customer_id(self) -> str | None:
        """Who is billed: the data's customer, else the subject; None goes to suspense."""
        return self.data.customer_id or self.subject


class CorrectionEvent(Envelope):
    """Full replacement of an earlier usage event, by a higher revision."""

    type: Literal["inference.usage.correction.v1"]
    data: UsageData

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.data.revision < 1:
            raise problem_at("data.revision", self.data.revision, "send 1 or more in a correction")
        if self.data.supersedes is None:
            raise problem_at("data.supersedes", None, "send the id of the event this one replaces")
        return self

    @property
    def customer_id(self) -> str | None:
        """Who is billed: the data's customer, else the subject; None goes to suspense."""
        return self.data.customer_id or self.subject

    @property
    def original(self) -> tuple[str, str]:
        """(source, id) of the event this one replaces; the source defaults to this event's own."""
        assert self.data.supersedes is not None
        return (self.data.supersedes_source or self.source, self.data.supersedes)


class ReservationData(WireModel):
    """The most an attempt may use, held before it runs and settled by its usage event."""

    request_id: Name
    customer_id: Name | None = None
    project_id: Name | None = None
    api_key_id: Name | None = None
    agent_id: Name | None = None
    agent_run_id: Name | None = None
    request_model: Name | None = None
    service_tier_requested: Name | None = None
    input_tokens_max: Count
    output_tokens_max: Count
    expires_at: Instant


class ReservationEvent(Envelope):
    """A hold on a customer's budget until `expires_at`."""

    type: Literal["inference.usage.reservation.v1"]
    data: ReservationData

    @property
    def customer_id(self) -> str | None:
        """Whose budget is held: the data's customer, else the subject."""
        return self.data.customer_id or self.subject


class EnergyData(WireModel):
    """One raw cumulative reading of a GPU's energy counter in mJ, never a difference.

    `epoch` names the life of the counter (boot and driver load), as its reader knows it: what
    lies between two epochs is never measured, at most a lower bound of it is booked. `scope`
    module means that the counter covers CPU and memory too.
    """

    gpu_uuid: Annotated[Name, AfterValidator(_parent_uuid)]
    epoch: Name
    energy_mj: EnergyMj
    power_mw: Count | None = None
    method: EnergyMethod = "nvml_counter"
    quality: EnergyQuality = "good"
    scope: EnergyScope = "gpu"
    mig: bool = False
    sampled_at: Instant | None = None


class EnergyEvent(Envelope):
    """A reading of one GPU's energy counter; `time` is when it was sampled."""

    type: Literal["gpu.energy.v1"]
    data: EnergyData

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_same_time("data.sampled_at", self.data.sampled_at, self.time)
        return self


class CounterValue(WireModel):
    """One cumulative counter under its canonical name; `value` is exact decimal, at least 0.

    `precision_loss` says that the server itself rounded it before printing.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    labels: Annotated[dict[TagKey, TagValue], Field(default_factory=dict, max_length=LABELS_MAX)]
    value: Annotated[DecimalText, AfterValidator(_counter_value)]
    raw_name: Name | None = None
    precision_loss: bool = False


class CountersData(WireModel):
    """All token counters of one engine instance at one scrape; `run_id` names one life of them."""

    engine: Name
    instance: Name
    run_id: Name
    run_started_at: Instant | None = None
    scraped_at: Instant | None = None
    values: Annotated[
        tuple[CounterValue, ...], BeforeValidator(list_as_tuple), Field(max_length=VALUES_MAX)
    ]


class CountersEvent(Envelope):
    """A scrape of one inference server; `time` is when it was scraped."""

    type: Literal["engine.counters.v1"]
    data: CountersData

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_same_time("data.scraped_at", self.data.scraped_at, self.time)
        return self


Event = UsageEvent | CorrectionEvent | ReservationEvent | EnergyEvent | CountersEvent
# What a new event type needs: its model here, nothing else in this package.
EVENT_MODELS: Mapping[str, type[Event]] = MappingProxyType(
    {
        USAGE: UsageEvent,
        CORRECTION: CorrectionEvent,
        RESERVATION: ReservationEvent,
        ENERGY: EnergyEvent,
        COUNTERS: CountersEvent,
    }
)


def parse_event(raw: object) -> Event:
    """Read one structured CloudEvent; raises EventError with every problem found."""
    if not isinstance(raw, Mapping):
        raise EventError([Problem("event", shorten(raw), "send one CloudEvents object")])
    model = EVENT_MODELS.get(raw.get("type", "")) if isinstance(raw.get("type"), str) else None
    if model is None:
        raise EventError([_type_problem(raw)])
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise EventError(list_problems(error)) from error


def explain(raw: object) -> tuple[Problem, ...]:
    """Every reason why an event may not be counted; empty when it may."""
    try:
        parse_event(raw)
    except EventError as error:
        return error.problems
    return ()


def _check_same_time(field: str, inner: datetime | None, time: datetime) -> None:
    if inner is not None and inner != time:
        raise problem_at(field, inner.isoformat(), f"send the event's time {time.isoformat()}")


def _type_problem(raw: Mapping[Any, Any]) -> Problem:
    found = shorten(raw["type"]) if "type" in raw else "nothing"
    return Problem("type", found, f"send one of {', '.join(EVENT_MODELS)}", "unknown_type")
