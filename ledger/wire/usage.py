"""The data of a usage event: who, what, when, disjoint token leaves and where it ran."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ledger.wire.fields import (
    Count,
    DecimalText,
    Instant,
    Name,
    Names,
    Tags,
    WireModel,
    list_as_tuple,
    problem_at,
)

LEAF_TOKENS_PER_REQUEST_MAX = 10_000_000
# Of one record, however many requests it sums: nine million of these fit into 64 bits.
LEAF_TOKENS_MAX = 10**12
REQUESTS_MAX = 1_000_000_000

Operation = Literal[
    "chat",
    "text_completion",
    "responses",
    "messages",
    "generate_content",
    "embeddings",
    "rerank",
    "audio_transcription",
    "audio_speech",
    "image_generation",
    "video_generation",
    "moderation",
]
Status = Literal[
    "ok",
    "client_aborted",
    "timeout",
    "rejected",
    "provider_error",
    "engine_error",
    "content_filtered",
    "budget_stopped",
]
UsageSource = Literal[
    "provider_final",
    "provider_running",
    "engine_final",
    "engine_running",
    "tokenizer_count",
    "char_estimate",
]
EngineRole = Literal["unified", "prefill", "decode"]
ESTIMATE_SOURCES = frozenset(
    {"provider_running", "engine_running", "tokenizer_count", "char_estimate"}
)


class InputLeaves(WireModel):
    """Input tokens in disjoint leaves; null is unknown and its tokens sit in `uncached`."""

    uncached: Count | None = None
    cache_read: Count | None = None
    cache_write: Count | None = None
    cache_write_5m: Count | None = None
    cache_write_1h: Count | None = None
    tool_use: Count | None = None

    def beside_main(self) -> tuple[int | None, ...]:
        """Every leaf except `uncached`."""
        return (
            self.cache_read,
            self.cache_write,
            self.cache_write_5m,
            self.cache_write_1h,
            self.tool_use,
        )

    def split_unknown(self) -> bool:
        """Whether cached or written tokens may hide in `uncached`; a TTL leaf speaks for writes."""
        writes = (self.cache_write, self.cache_write_5m, self.cache_write_1h)
        return self.cache_read is None or all(write is None for write in writes)


class OutputLeaves(WireModel):
    """Output tokens in disjoint leaves; null is unknown and its tokens sit in `visible`."""

    visible: Count | None = None
    reasoning: Count | None = None
    rejected_prediction: Count | None = None

    def beside_main(self) -> tuple[int | None, ...]:
        """Every leaf except `visible`."""
        return (self.reasoning, self.rejected_prediction)

    def split_unknown(self) -> bool:
        """Whether reasoning tokens may hide in `visible`."""
        return self.reasoning is None


@dataclass(frozen=True, slots=True)
class TokenLeaves:
    """The tokens of one event in disjoint leaves, main leaves resolved from totals.

    A side (input, output) that the event does not count at all is None in its main leaf: unknown.
    `split_unknown` says that tokens of an unknown leaf may sit in `uncached` or `visible`.
    """

    uncached: int | None
    cache_read: int | None
    cache_write: int | None
    cache_write_5m: int | None
    cache_write_1h: int | None
    tool_use: int | None
    visible: int | None
    reasoning: int | None
    rejected_prediction: int | None
    split_unknown: bool

    @property
    def input_tokens(self) -> int | None:
        """Sum of the input leaves in tokens, None when the event counts no input."""
        return _side_total(
            self.uncached,
            self.cache_read,
            self.cache_write,
            self.cache_write_5m,
            self.cache_write_1h,
            self.tool_use,
        )

    @property
    def output_tokens(self) -> int | None:
        """Sum of the output leaves in tokens, None when the event counts no output."""
        return _side_total(self.visible, self.reasoning, self.rejected_prediction)


class UsagePart(WireModel):
    """A sub-inference of one attempt with a model and leaves of its own."""

    model: Name | None = None
    kind: Name | None = None
    input: InputLeaves | None = None
    output: OutputLeaves | None = None


class Usage(WireModel):
    """What one attempt used, in tokens; at least one side must be counted."""

    input: InputLeaves | None = None
    output: OutputLeaves | None = None
    input_total: Count | None = None
    output_total: Count | None = None
    context_tokens: Count | None = None
    choices: Annotated[int, Field(ge=1, le=REQUESTS_MAX)] | None = None
    modality: dict[Name, Count | None] | None = None
    other: dict[Name, Count | None] | None = None
    parts: Annotated[tuple[UsagePart, ...], BeforeValidator(list_as_tuple)] | None = None
    source: UsageSource | None = None
    complete: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        leaves = self.leaves()
        if leaves.uncached is None and leaves.visible is None:
            raise problem_at(
                "usage", "no counts", "send input or output leaves, or their totals", "no_counts"
            )
        if self.complete and self.source in ESTIMATE_SOURCES:
            raise problem_at(
                "usage.complete",
                f"true with source {self.source}",
                "send false: a running count or an estimate is never final",
                "estimate_complete",
            )
        return self

    def leaves(self) -> TokenLeaves:
        """Disjoint leaves with the main ones resolved; raises where they contradict a total."""
        inputs, outputs = self.input or InputLeaves(), self.output or OutputLeaves()
        uncached = _main_leaf(
            inputs.uncached, inputs.beside_main(), self.input_total, names=_INPUT_NAMES
        )
        visible = _main_leaf(
            outputs.visible, outputs.beside_main(), self.output_total, names=_OUTPUT_NAMES
        )
        # The leaf `uncached` of an input of nothing hides nothing.
        hidden_input = bool(uncached) and inputs.split_unknown()
        hidden_output = bool(visible) and outputs.split_unknown()
        return TokenLeaves(
            uncached=uncached,
            cache_read=inputs.cache_read,
            cache_write=inputs.cache_write,
            cache_write_5m=inputs.cache_write_5m,
            cache_write_1h=inputs.cache_write_1h,
            tool_use=inputs.tool_use,
            visible=visible,
            reasoning=outputs.reasoning,
            rejected_prediction=outputs.rejected_prediction,
            split_unknown=hidden_input or hidden_output,
        )


class Agent(WireModel):
    """The AI agent on whose behalf the attempt ran, as the gateway names it."""

    id: Name | None = None
    name: Name | None = None
    version: Name | None = None
    parent_id: Name | None = None
    run_id: Name | None = None
    step: Count | None = None


class Engine(WireModel):
    """Where the attempt ran: the join key to counters (`instance`) and to energy (`gpu_uuids`)."""

    name: Name | None = None
    version: Name | None = None
    instance: Name | None = None
    index: Count | None = None
    gpu_uuids: Names | None = None
    role: EngineRole | None = None
    draft_tokens: Count | None = None
    accepted_tokens: Count | None = None
    preemptions: Count | None = None
    recomputed_tokens: Count | None = None
    kv_external_tokens: Count | None = None


class ProviderCost(WireModel):
    """A provider's own claim of what the attempt cost; for reconciliation, never billed."""

    amount: DecimalText
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class UsageData(WireModel):
    """One attempt of one request, or `requests` of them already summed."""

    schema_version: Literal[1] | None = None
    requests: Annotated[int, Field(ge=1, le=REQUESTS_MAX)] = 1
    request_id: Name | None = None
    response_id: Name | None = None
    operation_key: Name | None = None
    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    retry_of: Name | None = None
    hedged: bool | None = None
    fallback_from: Name | None = None
    revision: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
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
    tags: Tags | None = None
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
    started_at: Instant | None = None
    first_token_at: Instant | None = None
    ended_at: Instant | None = None
    queue_ms: Count | None = None
    ttft_ms: Count | None = None
    prefill_ms: Count | None = None
    decode_ms: Count | None = None
    duration_ms: Count | None = None
    stream: bool | None = None
    status: Status | None = None
    finish_reasons: Names | None = None
    http_status: Count | None = None
    error_type: Name | None = None
    usage: Usage
    engine: Engine | None = None
    provider_cost: ProviderCost | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_times()
        self._check_size()
        return self

    @property
    def model(self) -> str | None:
        """The model that answered: served, else response, else as requested."""
        return self.served_model or self.response_model or self.request_model

    def _check_times(self) -> None:
        named = (
            ("started_at", self.started_at),
            ("first_token_at", self.first_token_at),
            ("ended_at", self.ended_at),
        )
        known = [(name, instant) for name, instant in named if instant is not None]
        for (before, early), (after, late) in pairwise(known):
            if late < early:
                action = f"send a time at or after {before} {early.isoformat()}"
                raise problem_at(after, late.isoformat(), action, "times_unordered")

    def _check_size(self) -> None:
        limit = min(LEAF_TOKENS_PER_REQUEST_MAX * self.requests, LEAF_TOKENS_MAX)
        leaves = self.usage.leaves()
        for side, name in _LEAVES:
            tokens = getattr(leaves, name)
            if tokens is not None and tokens > limit:
                raise problem_at(
                    f"usage.{side}.{name}",
                    tokens,
                    f"send at most {LEAF_TOKENS_PER_REQUEST_MAX} × requests,"
                    f" and {LEAF_TOKENS_MAX} at once: {limit}",
                    "absurd_count",
                )


_LEAVES = (
    *(("input", name) for name in InputLeaves.model_fields),
    *(("output", name) for name in OutputLeaves.model_fields),
)
_INPUT_NAMES = ("usage.input_total", "usage.input.uncached")
_OUTPUT_NAMES = ("usage.output_total", "usage.output.visible")


def _main_leaf(
    main: int | None, others: tuple[int | None, ...], total: int | None, *, names: tuple[str, str]
) -> int | None:
    total_name, main_name = names
    known = sum(tokens for tokens in others if tokens is not None)
    if total is None:
        if main is None and any(tokens is not None for tokens in others):
            raise problem_at(main_name, None, f"send it or {total_name} beside the other leaves")
        return main
    if main is None and known <= total:
        return total - known
    if main is None or main + known != total:
        found = f"{total} against leaves of {known + (main or 0)}"
        action = "send a total equal to the sum of its disjoint leaves"
        raise problem_at(total_name, found, action, "sum_mismatch")
    return main


def _side_total(main: int | None, *others: int | None) -> int | None:
    if main is None:
        return None
    return main + sum(tokens for tokens in others if tokens is not None)
