"""CloudEvents 1.0 as sent here: the envelope and the six types, field by field.

A field is one line here, or in `wire.usage`: every reader of events, the columns of a batch, the
OpenAPI document and docs/events.md are made of these (`wire.schema`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Literal

from ledger.wire.errors import FieldError, problem_at
from ledger.wire.fields import Count, EnergyMj, Flag, Instant, Name, TagKey, TagValue
from ledger.wire.limits import (
    CORRECTION,
    COUNTERS,
    ENERGY,
    LABELS_MAX,
    METER_GAP,
    RESERVATION,
    USAGE,
    VALUES_MAX,
)
from ledger.wire.rules import About, DecimalRule, SizeRule, TextRule
from ledger.wire.units import BLANK_VALUE_MIN
from ledger.wire.usage import UsageData

# How far ahead of the ledger's clock an event's `time` may lie; checked there, not here.
FUTURE_TOLERANCE = timedelta(minutes=5)

EnergyMethod = Literal[
    "nvml_counter", "dcgm", "triton", "amd_counter", "rapl", "meter", "power_integral"
]
EnergyQuality = Literal["good", "estimated", "suspect"]
EnergyScope = Literal["gpu", "module"]


def _json_type(text: str) -> str:
    media_type = text.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise FieldError("send application/json")
    return text


def _parent_uuid(text: str) -> str:
    if text.startswith("MIG-"):
        raise FieldError(
            "send the UUID of the parent GPU: a MIG slice has no energy counter of its own"
        )
    return text


def _counter_value(value: Decimal) -> Decimal:
    if value < 0 or value >= BLANK_VALUE_MIN:
        raise FieldError("send a counter in 0..2**62-1")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The CloudEvents attributes of every event; (source, id) is the idempotency key if keyed."""

    specversion: Annotated[Literal["1.0"], About("The version of CloudEvents.")]
    id: Annotated[Name, About("Names the event among those of its source, once and for all.")]
    source: Annotated[Name, About("Who sends it.")]
    type: Annotated[Name, About("What it is.")]
    time: Annotated[Instant, About("When it was: of usage its end, which decides the window.")]
    subject: Annotated[
        Name | None, About("Who is billed, where the data names nobody; never another.")
    ] = None
    datacontenttype: Annotated[
        Annotated[str, TextRule(check=_json_type)] | None, About("JSON, if it is said.")
    ] = None
    dataschema: Annotated[Name | None, About("Not read.")] = None
    traceparent: Annotated[Name | None, About("Not read.")] = None
    partitionkey: Annotated[Name | None, About("Not read.")] = None
    recordedtime: Annotated[Instant | None, About("When its sender wrote it down.")] = None


def _check_customer(subject: str | None, said: str | None) -> None:
    if None not in (subject, said) and subject != said:
        raise problem_at(
            "data.customer_id",
            f"{said} where subject is {subject}",
            "send one customer, or no subject",
            "two_customers",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent(Envelope):
    """One attempt's usage; `time` is its end and decides the billing window."""

    type: Literal["inference.usage.v1"]
    data: UsageData

    def __post_init__(self) -> None:
        _check_customer(self.subject, self.data.customer_id)
        replaces = self.data.supersedes or self.data.supersedes_source
        if replaces is not None or self.data.revision:
            field = "data.revision" if replaces is None else "data.supersedes"
            action = "leave it out, or send an inference.usage.correction.v1"
            raise problem_at(field, replaces or self.data.revision, action)

    @property
    def customer_id(self) -> str | None:
        """Who is billed: the data's customer, else the subject; None goes to suspense."""
        return self.data.customer_id or self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionEvent(Envelope):
    """Full replacement of an earlier usage event, by a higher revision."""

    type: Literal["inference.usage.correction.v1"]
    data: UsageData

    def __post_init__(self) -> None:
        _check_customer(self.subject, self.data.customer_id)
        if self.data.revision < 1:
            raise problem_at("data.revision", self.data.revision, "send 1 or more in a correction")
        if self.data.supersedes is None:
            raise problem_at("data.supersedes", None, "send the id of the event this one replaces")

    @property
    def customer_id(self) -> str | None:
        """Who is billed: the data's customer, else the subject; None goes to suspense."""
        return self.data.customer_id or self.subject

    @property
    def original(self) -> tuple[str, str]:
        """(source, id) of the event this one replaces; the source defaults to this event's own."""
        assert self.data.supersedes is not None
        return (self.data.supersedes_source or self.source, self.data.supersedes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationData:
    """The most an attempt may use. An event comes too late to refuse it, and is rejected: it is
    held by `POST /v1/reservations`, which answers whether it fits, and settled by the usage event.
    """

    request_id: Annotated[Name, About("The request, as the gateway names it.")]
    customer_id: Annotated[Name | None, About("Whose budget; without it, the subject's.")] = None
    project_id: Annotated[Name | None, About("The customer's project.")] = None
    api_key_id: Annotated[Name | None, About("The customer's key.")] = None
    agent_id: Annotated[Name | None, About("The agent that asks.")] = None
    agent_run_id: Annotated[Name | None, About("Which run of it.")] = None
    request_model: Annotated[Name | None, About("The model that is asked for.")] = None
    service_tier_requested: Annotated[Name | None, About("The tier that is asked for.")] = None
    input_tokens_max: Annotated[Count, About("The most input tokens.")]
    output_tokens_max: Annotated[Count, About("The most output tokens.")]
    expires_at: Annotated[Instant, About("Until when it is held.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationEvent(Envelope):
    """A hold on a customer's budget until `expires_at`."""

    type: Literal["inference.usage.reservation.v1"]
    data: ReservationData

    @property
    def customer_id(self) -> str | None:
        """Whose budget is held: the data's customer, else the subject."""
        return self.data.customer_id or self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyData:
    """One raw cumulative reading of a GPU's energy counter in mJ, never a difference.

    `epoch` names the life of the counter as its reader knows it. `boot_id` names the boot of the
    host, `driver_load` the load of the driver in it, and `monotonic_us` is the time since that
    boot: by these readings are ordered and paired, so that a clock that is set moves no energy.
    `scope` module means that the counter covers CPU and memory too.
    """

    gpu_uuid: Annotated[str, TextRule(1, 256, check=_parent_uuid), About("The GPU as a whole.")]
    epoch: Annotated[Name, About("Which life of the counter.")]
    energy_mj: Annotated[EnergyMj, About("The counter.")]
    power_mw: Annotated[Count | None, About("The power that the board says it draws.")] = None
    method: Annotated[EnergyMethod, About("How the counter is read.")] = "nvml_counter"
    quality: Annotated[EnergyQuality, About("What its reader thinks of it.")] = "good"
    scope: Annotated[EnergyScope, About("What the counter covers.")] = "gpu"
    mig: Annotated[Flag, About("Whether the GPU is sliced.")] = False
    sampled_at: Annotated[Instant | None, About("The event's time, if it is said.")] = None
    boot_id: Annotated[Name | None, About("Which boot of the host.")] = None
    driver_load: Annotated[Name | None, About("Which load of the driver in that boot.")] = None
    monotonic_us: Annotated[Count | None, About("Microseconds since that boot.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyEvent(Envelope):
    """A reading of one GPU's energy counter; `time` is when it was sampled."""

    type: Literal["gpu.energy.v1"]
    data: EnergyData

    def __post_init__(self) -> None:
        _check_same_time("data.sampled_at", self.data.sampled_at, self.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterValue:
    """One cumulative counter under its canonical name; `value` is exact decimal, at least 0.

    `precision_loss` says that the server itself rounded it before printing.
    """

    name: Annotated[str, TextRule(pattern=r"^[a-z][a-z0-9_]{0,63}$"), About("Its name here.")]
    labels: Annotated[dict[TagKey, TagValue], SizeRule(LABELS_MAX), About("What it is of.")] = (
        field(default_factory=dict)
    )
    value: Annotated[Decimal, DecimalRule(_counter_value), About("The counter.")]
    raw_name: Annotated[Name | None, About("Its name at the server.")] = None
    precision_loss: Annotated[Flag, About("Whether the server rounded it.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CountersData:
    """All token counters of one engine instance at one scrape; `run_id` names one life of them."""

    engine: Annotated[Name, About("Which inference server.")]
    instance: Annotated[Name, About("Which instance of it.")]
    run_id: Annotated[Name, About("Which life of its counters.")]
    run_started_at: Annotated[Instant | None, About("When that began.")] = None
    scraped_at: Annotated[Instant | None, About("The event's time, if it is said.")] = None
    values: Annotated[tuple[CounterValue, ...], SizeRule(VALUES_MAX), About("The counters.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountersEvent(Envelope):
    """A scrape of one inference server; `time` is when it was scraped."""

    type: Literal["engine.counters.v1"]
    data: CountersData

    def __post_init__(self) -> None:
        _check_same_time("data.scraped_at", self.data.scraped_at, self.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterGapData:
    """Why a meter gave no reading one can rely on, from `since` to the event's time.

    `reason` is a code, `detail` what was said with it. The same gap may be told again, longer.
    """

    gpu_uuid: Annotated[str, TextRule(1, 256, check=_parent_uuid), About("The GPU as a whole.")]
    reason: Annotated[
        str, TextRule(1, 64, pattern=r"^[a-z][a-z0-9_]{0,63}$"), About("Why, as a code.")
    ]
    since: Annotated[Instant, About("Where it begins.")]
    detail: Annotated[Name | None, About("What was said with it.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterGapEvent(Envelope):
    """A stretch of one meter without readings; `time` is where it ends, or how far it has come."""

    type: Literal["meter.gap.v1"]
    data: MeterGapData

    def __post_init__(self) -> None:
        if self.data.since > self.time:
            raise problem_at(
                "data.since", self.data.since.isoformat(), "send a time before the event's"
            )


Event = (
    UsageEvent | CorrectionEvent | ReservationEvent | EnergyEvent | CountersEvent | MeterGapEvent
)
# What a new event type needs: its shape here, nothing else in this package.
EVENT_TYPES: Mapping[str, type[Event]] = MappingProxyType(
    {
        USAGE: UsageEvent,
        CORRECTION: CorrectionEvent,
        RESERVATION: ReservationEvent,
        ENERGY: EnergyEvent,
        COUNTERS: CountersEvent,
        METER_GAP: MeterGapEvent,
    }
)


def _check_same_time(name: str, inner: datetime | None, time: datetime) -> None:
    if inner is not None and inner != time:
        raise problem_at(name, inner.isoformat(), f"send the event's time {time.isoformat()}")
