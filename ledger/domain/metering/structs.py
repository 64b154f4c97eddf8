"""The events as strict structs: what the fast decoder accepts, field for field as `wire.events`.

Invariant: whatever decodes here and passes `validate` is accepted by the models of `wire.events`
with the same values; the reverse need not hold, because what fails here is read again by them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ledger.wire.events import EnergyMethod, EnergyQuality, EnergyScope
from ledger.wire.fields import COUNT_MAX, NAME_CHARS_MAX, TAGS_MAX
from ledger.wire.limits import TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX
from ledger.wire.units import BLANK_VALUE_MIN
from ledger.wire.usage import REQUESTS_MAX, EngineRole, Operation, Status, UsageSource

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
Requests = Annotated[int, Meta(ge=1, le=REQUESTS_MAX)]
Attempt = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Revision = Annotated[int, Meta(ge=0, le=2**31 - 1)]
EnergyMj = Annotated[int, Meta(ge=0, le=BLANK_VALUE_MIN - 1)]
TagKey = Annotated[str, Meta(min_length=1, max_length=TAG_KEY_CHARS_MAX)]
TagValue = Annotated[str, Meta(max_length=TAG_VALUE_CHARS_MAX)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]


class InputLeaves(Struct, frozen=True, gc=False):
    """As `wire.usage.InputLeaves`."""

    uncached: Count | None = None
    cache_read: Count | None = None
    cache_write: Count | None = None
    cache_write_5m: Count | None = None
    cache_write_1h: Count | None = None
    tool_use: Count | None = None


class OutputLeaves(Struct, frozen=True, gc=False):
    """As `wire.usage.OutputLeaves`."""

    visible: Count | None = None
    reasoning: Count | None = None
    rejected_prediction: Count | None = None


class UsagePart(Struct, frozen=True):
    """As `wire.usage.UsagePart`."""

    model: Name | None = None
    kind: Name | None = None
    input: InputLeaves | None = None
    output: OutputLeaves | None = None


class Usage(Struct, frozen=True):
    """As `wire.usage.Usage`, without its checks over several fields."""

    input: InputLeaves | None = None
    output: OutputLeaves | None = None
    input_total: Count | None = None
    output_total: Count | None = None
    context_tokens: Count | None = None
    choices: Requests | None = None
    modality: dict[Name, Count | None] | None = None
    other: dict[Name, Count | None] | None = None
    parts: list[UsagePart] | None = None
    source: UsageSource | None = None
    complete: bool | None = None


class Agent(Struct, frozen=True):
    """As `wire.usage.Agent`."""

    id: Name | None = None
    name: Name | None = None
    version: Name | None = None
    parent_id: Name | None = None
    run_id: Name | None = None
    step: Count | None = None


class Engine(Struct, frozen=True):
    """As `wire.usage.Engine`."""

    name: Name | None = None
    version: Name | None = None
    instance: Name | None = None
    index: Count | None = None
    gpu_uuids: list[Name] | None = None
    role: EngineRole | None = None
    draft_tokens: Count | None = None
    accepted_tokens: Count | None = None
    preemptions: Count | None = None
    recomputed_tokens: Count | None = None
    kv_external_tokens: Count | None = None


class ProviderCost(Struct, frozen=True):
    """As `wire.usage.ProviderCost`; the amount is still text."""

    amount: str
    currency: Currency


class UsageData(Struct, frozen=True):
    """As `wire.usage.UsageData`, times still text."""

    usage: Usage
    schema_version: Literal[1] | None = None
    requests: Requests = 1
    request_id: Name | None = None
    response_id: Name | None = None
    operation_key: Name | None = None
    attempt: Attempt = 1
    retry_of: Name | None = None
    hedged: bool | None = None
    fallback_from: Name | None = None
    revision: Revision = 0
    supersedes: Name | None = None
    supersedes_source: Name | None = None
    operation: Operation | None = None
    customer_id: Name | None = None
    project_id: Name | None = None
    cost_center: Name | None = None
    api_key_id: Name | None = None
    end_user_id: Name | None = None
    plan_tier: Name | None = None
    agent: Agent | None = None
    conversation_id: Name | None = None
    workflow_name: Name | None = None
    identity_source: dict[Name, Name] | None = None
    tags: Annotated[dict[TagKey, TagValue], Meta(max_length=TAGS_MAX)] | None = None
    provider: Name | None = None
    request_model: Name | None = None
    response_model: Name | None = None
    served_model: Name | None = None
    adapter: Name | None = None
    service_tier_requested: Name | None = None
    service_tier_served: Name | None = None
    speed: Name | None = None
    region: Name | None = None
    inference_geo: Name | None = None
    batch_id: Name | None = None
    started_at: str | None = None
    first_token_at: str | None = None
    ended_at: str | None = None
    queue_ms: Count | None = None
    ttft_ms: Count | None = None
    prefill_ms: Count | None = None
    decode_ms: Count | None = None
    duration_ms: Count | None = None
    stream: bool | None = None
    status: Status | None = None
    finish_reasons: list[Name] | None = None
    http_status: Count | None = None
    error_type: Name | None = None
    engine: Engine | None = None
    provider_cost: ProviderCost | None = None


class EnergyData(Struct, frozen=True):
    """As `wire.events.EnergyData`; a counter sent as digits is left to that model."""

    gpu_uuid: Name
    epoch: Name
    energy_mj: EnergyMj
    power_mw: Count | None = None
    method: EnergyMethod = "nvml_counter"
    quality: EnergyQuality = "good"
    scope: EnergyScope = "gpu"
    mig: bool = False
    sampled_at: str | None = None


class Envelope(Struct, frozen=True, kw_only=True):
    """As `wire.events.Envelope`, times still text."""

    specversion: Literal["1.0"]
    id: Name
    source: Name
    time: str
    subject: Name | None = None
    datacontenttype: str | None = None
    dataschema: Name | None = None
    traceparent: Name | None = None
    partitionkey: Name | None = None
    recordedtime: str | None = None


class UsageEvent(Envelope, frozen=True, tag_field="type", tag="inference.usage.v1"):
    """An attempt."""

    data: UsageData


class CorrectionEvent(Envelope, frozen=True, tag_field="type", tag="inference.usage.correction.v1"):
    """A full replacement."""

    data: UsageData


class EnergyEvent(Envelope, frozen=True, tag_field="type", tag="gpu.energy.v1"):
    """A reading of a GPU's counter."""

    data: EnergyData


class CounterValue(Struct, frozen=True):
    """A counter in the canonical form that the model writes."""

    name: str
    value: str
    labels: dict[str, str] = {}
    raw_name: str | None = None
    precision_loss: bool = False


class CountersData(Struct, frozen=True):
    """A scrape in the canonical form that the model writes."""

    engine: str
    instance: str
    run_id: str
    values: list[CounterValue]
    run_started_at: str | None = None
    scraped_at: str | None = None


class CountersEvent(Envelope, frozen=True, tag_field="type", tag="engine.counters.v1"):
    """A scrape; read by the model first, because its values are decimals."""

    data: CountersData


FastEvent = UsageEvent | CorrectionEvent | EnergyEvent
DecodedEvent = FastEvent | CountersEvent
FAST = msgspec.json.Decoder(FastEvent)
CANONICAL = msgspec.json.Decoder(DecodedEvent)
NO_INPUT, NO_OUTPUT, NO_AGENT, NO_ENGINE = InputLeaves(), OutputLeaves(), Agent(), Engine()
