"""The data of a usage event: who, what, when, disjoint token leaves and where it ran.

A field is one line here, which all readers of events go by (`wire.schema`).
"""

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Annotated, Literal

from ledger.wire.errors import problem_at
from ledger.wire.extras import EXTRAS, KINDS_OF, QUANTITY_MAX
from ledger.wire.fields import (
    Count,
    Currency,
    DecimalText,
    Flag,
    Instant,
    Name,
    Names,
    Tags,
)
from ledger.wire.rules import About, SizeRule, WholeRule

LEAF_TOKENS_PER_REQUEST_MAX = 10_000_000
# Of one record, however many requests it sums: nine million of these fit into 64 bits.
LEAF_TOKENS_MAX = 10**12
REQUESTS_MAX = 1_000_000_000

Requests = Annotated[int, WholeRule(1, REQUESTS_MAX)]
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
# Append only: the ledger stores the place in this list.
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
# What an attempt may be beside well done and final; append only: the ledger stores the place.
Outcome = Literal[
    "aborted",
    "failed",
    "filtered",
    "retried",
    "hedged",
    "fallback",
    "estimated",
    "incomplete",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class InputLeaves:
    """Input tokens in disjoint leaves; null is unknown and its tokens sit in `uncached`."""

    uncached: Annotated[
        Count | None,
        About("Not of a cache; else what a total leaves."),
    ] = None
    cache_read: Annotated[Count | None, About("Read from a cache.")] = None
    cache_write: Annotated[
        Count | None, About("Written to a cache, for as long as the provider keeps it.")
    ] = None
    cache_write_5m: Annotated[Count | None, About("Written to a cache for five minutes.")] = None
    cache_write_1h: Annotated[Count | None, About("Written to a cache for an hour.")] = None
    tool_use: Annotated[Count | None, About("Results of tools that the provider ran.")] = None

    def beside_main(self) -> tuple[int | None, ...]:
        """Every leaf except `uncached`."""
        return (
            self.cache_read,
            self.cache_write,
            self.cache_write_5m,
            self.cache_write_1h,
            self.tool_use,
        )

    def tokens(self) -> int:
        """The sum of the leaves that are known."""
        return sum(tokens or 0 for tokens in (self.uncached, *self.beside_main()))

    def split_unknown(self) -> bool:
        """Whether cached or written tokens may hide in `uncached`; a TTL leaf speaks for writes."""
        writes = (self.cache_write, self.cache_write_5m, self.cache_write_1h)
        return self.cache_read is None or all(write is None for write in writes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLeaves:
    """Output tokens in disjoint leaves; null is unknown and its tokens sit in `visible`."""

    visible: Annotated[Count | None, About("In the answer; else what a total leaves.")] = None
    reasoning: Annotated[Count | None, About("Thought, and not in the answer.")] = None
    rejected_prediction: Annotated[
        Count | None, About("Offered as a prediction and not taken.")
    ] = None

    def beside_main(self) -> tuple[int | None, ...]:
        """Every leaf except `visible`."""
        return (self.reasoning, self.rejected_prediction)

    def tokens(self) -> int:
        """The sum of the leaves that are known."""
        return sum(tokens or 0 for tokens in (self.visible, *self.beside_main()))

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


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePart:
    """A sub-inference of one attempt with a model and leaves of its own."""

    model: Annotated[Name | None, About("The model of this part.")] = None
    kind: Annotated[Name | None, About("What the part was for.")] = None
    input: Annotated[InputLeaves | None, About("Its input tokens.")] = None
    output: Annotated[OutputLeaves | None, About("Its output tokens.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one attempt used, in tokens; at least one side must be counted."""

    input: Annotated[InputLeaves | None, About("Input tokens in disjoint leaves.")] = None
    output: Annotated[OutputLeaves | None, About("Output tokens in disjoint leaves.")] = None
    input_total: Annotated[Count | None, About("The sum of the input leaves.")] = None
    output_total: Annotated[Count | None, About("The sum of the output leaves.")] = None
    context_tokens: Annotated[
        Count | None,
        About("The largest single input, a part of it all; it decides the band of a price."),
    ] = None
    choices: Annotated[Requests | None, About("How many answers were asked for.")] = None
    modality: Annotated[
        dict[Name, Count | None] | None,
        About("Tokens by side and kind of content, in the leaves already, like input.audio."),
    ] = None
    other: Annotated[
        dict[Name, Count | None] | None,
        About("Other counts, like web_search.requests or audio.seconds; some are meters."),
    ] = None
    parts: Annotated[
        Annotated[tuple[UsagePart, ...], SizeRule()] | None,
        About("Sub-inferences of the one model; they are in the leaves already."),
    ] = None
    source: Annotated[UsageSource | None, About("Who counted.")] = None
    complete: Annotated[
        Flag | None, About("Whether the count is final; a running count or an estimate never is.")
    ] = None

    def __post_init__(self) -> None:
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
        self._check_context(leaves)
        self._check_modality(leaves)
        self._check_parts(leaves)
        self._check_extras()

    def _check_context(self, leaves: TokenLeaves) -> None:
        context, whole = self.context_tokens, leaves.input_tokens
        if context is not None and whole is not None and context > whole:
            raise problem_at(
                "usage.context_tokens",
                f"{context} of an input of {whole}",
                "send the largest single input, which is a part of all input",
                "context_beyond_input",
            )

    def _check_modality(self, leaves: TokenLeaves) -> None:
        said, whole = self.modality or {}, leaves.input_tokens
        cached = leaves.cache_read if leaves.cache_read is not None else whole
        tokens = {"input": whole, "cache_read": cached, "output": leaves.output_tokens}
        for side, kinds in KINDS_OF.items():
            of_kinds, of_side = sum(said.get(kind) or 0 for kind in kinds), tokens[side]
            if of_side is not None and of_kinds > of_side:
                raise problem_at(
                    f"usage.modality.{side}",
                    f"{of_kinds} tokens by kind of content, of {of_side}",
                    "send of each kind its part of the tokens counted there",
                    "modality_beyond_side",
                )

    def _check_parts(self, leaves: TokenLeaves) -> None:
        inputs, outputs = ([getattr(part, side) for part in self.parts or ()] for side in _SIDES)
        sides = {"input": (inputs, leaves.input_tokens), "output": (outputs, leaves.output_tokens)}
        for side, (parts, of_side) in sides.items():
            of_parts = sum(part.tokens() for part in parts if part is not None)
            if of_side is not None and of_parts > of_side:
                raise problem_at(
                    f"usage.parts.{side}",
                    f"{of_parts} tokens, of {of_side}",
                    "send the whole in usage, and its parts inside it",
                    "parts_beyond_side",
                )

    def _check_extras(self) -> None:
        groups = {"modality": self.modality or {}, "other": self.other or {}}
        for extra in EXTRAS.values():
            for field, units in extra.said.items():
                group, _, name = field.partition(".")
                count = groups.get(group, {}).get(name) or 0
                if count * units > QUANTITY_MAX:
                    action = f"send at most {QUANTITY_MAX // units} at once"
                    raise problem_at(f"usage.{field}", count, action, "absurd_count")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The AI agent on whose behalf the attempt ran, as the gateway names it."""

    id: Annotated[Name | None, About("Which agent.")] = None
    name: Annotated[Name | None, About("Its name.")] = None
    version: Annotated[Name | None, About("Its version.")] = None
    parent_id: Annotated[Name | None, About("The agent that called it.")] = None
    run_id: Annotated[Name | None, About("Which run of it.")] = None
    parent_run_id: Annotated[Name | None, About("The run that started it.")] = None
    step: Annotated[Count | None, About("Which step of the run.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Where the attempt ran: the join key to counters (`instance`) and to energy (`gpu_uuids`)."""

    name: Annotated[Name | None, About("Which inference server.")] = None
    version: Annotated[Name | None, About("Its version.")] = None
    instance: Annotated[
        Name | None, About("Which instance; its counters and its GPUs are found by it.")
    ] = None
    index: Annotated[Count | None, About("Which of several engines of the instance.")] = None
    gpu_uuids: Annotated[Names | None, About("The GPUs that it ran on.")] = None
    role: Annotated[EngineRole | None, About("What it did of the attempt.")] = None
    draft_tokens: Annotated[Count | None, About("Tokens drafted.")] = None
    accepted_tokens: Annotated[Count | None, About("Drafted tokens that were taken.")] = None
    preemptions: Annotated[Count | None, About("How often it was put back.")] = None
    recomputed_tokens: Annotated[Count | None, About("Tokens computed again after that.")] = None
    kv_external_tokens: Annotated[
        Count | None, About("Tokens whose keys and values came from elsewhere.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCost:
    """A provider's own claim of what the attempt cost; for reconciliation, never billed."""

    amount: Annotated[DecimalText, About("What the provider says it cost.")]
    currency: Annotated[Currency, About("In which currency, by ISO 4217.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageData:
    """One attempt of one request, or `requests` of them already summed."""

    schema_version: Annotated[Literal[1] | None, About("The version of this form.")] = None
    requests: Annotated[Requests, About("How many requests it sums.")] = 1
    request_id: Annotated[Name | None, About("The request, as the gateway names it.")] = None
    response_id: Annotated[Name | None, About("The answer, as the provider names it.")] = None
    operation_key: Annotated[Name | None, About("What retries of one request have in common.")] = (
        None
    )
    attempt: Annotated[int, WholeRule(1, 2**31 - 1), About("Which attempt of the request.")] = 1
    retry_of: Annotated[Name | None, About("The attempt that this one repeats.")] = None
    hedged: Annotated[
        Flag | None, About("Whether it ran beside another attempt of the same request.")
    ] = None
    fallback_from: Annotated[Name | None, About("The model that was to answer first.")] = None
    revision: Annotated[int, WholeRule(0, 2**31 - 1), About("0, and higher in a correction.")] = 0
    supersedes: Annotated[Name | None, About("The id of the event that this one replaces.")] = None
    supersedes_source: Annotated[
        Name | None, About("The source of that event; without it, this one's.")
    ] = None
    reservation_id: Annotated[Name | None, About("The reservation that it settles.")] = None
    operation: Annotated[Operation | None, About("What was asked for.")] = None
    customer_id: Annotated[Name | None, About("Who is billed; without it, the subject is.")] = None
    project_id: Annotated[Name | None, About("The customer's project.")] = None
    cost_center: Annotated[Name | None, About("The customer's cost center.")] = None
    api_key_id: Annotated[Name | None, About("The customer's key.")] = None
    end_user_id: Annotated[
        Name | None, About("The customer's user; kept as a keyed hash, or not at all.")
    ] = None
    plan_tier: Annotated[Name | None, About("The customer's plan.")] = None
    agent: Annotated[Agent | None, About("The agent that asked.")] = None
    conversation_id: Annotated[Name | None, About("The conversation.")] = None
    workflow_name: Annotated[Name | None, About("The workflow.")] = None
    identity_source: Annotated[
        dict[Name, Name] | None, About("Where each name of who asked was read.")
    ] = None
    tags: Annotated[Tags | None, About("The customer's own words.")] = None
    provider: Annotated[Name | None, About("Who served.")] = None
    request_model: Annotated[Name | None, About("The model that was asked for.")] = None
    response_model: Annotated[Name | None, About("The model that the answer names.")] = None
    served_model: Annotated[
        Name | None, About("The model that served; it is billed before the other two.")
    ] = None
    adapter: Annotated[Name | None, About("The adapter of the model.")] = None
    service_tier_requested: Annotated[Name | None, About("The tier that was asked for.")] = None
    service_tier_served: Annotated[Name | None, About("The tier that served.")] = None
    speed: Annotated[Name | None, About("The provider's speed.")] = None
    region: Annotated[Name | None, About("Where it was served.")] = None
    inference_geo: Annotated[Name | None, About("Where it had to be served.")] = None
    batch_id: Annotated[Name | None, About("The provider's batch.")] = None
    started_at: Annotated[Instant | None, About("When it began.")] = None
    first_token_at: Annotated[Instant | None, About("When the first token came.")] = None
    ended_at: Annotated[Instant | None, About("When it ended; less than an hour from `time`.")] = (
        None
    )
    queue_ms: Annotated[
        Count | None, About("How long it waited after it began, before an engine took it.")
    ] = None
    ttft_ms: Annotated[Count | None, About("How long until the first token.")] = None
    prefill_ms: Annotated[Count | None, About("How long it read.")] = None
    decode_ms: Annotated[Count | None, About("How long it wrote.")] = None
    duration_ms: Annotated[Count | None, About("How long it took.")] = None
    stream: Annotated[Flag | None, About("Whether the answer was streamed.")] = None
    status: Annotated[Status | None, About("How it ended.")] = None
    finish_reasons: Annotated[Names | None, About("Why each answer ended.")] = None
    http_status: Annotated[Count | None, About("The provider's status.")] = None
    error_type: Annotated[Name | None, About("The provider's error.")] = None
    usage: Annotated[Usage, About("What it used.")]
    engine: Annotated[Engine | None, About("Where it ran.")] = None
    provider_cost: Annotated[ProviderCost | None, About("What the provider says it cost.")] = None

    def __post_init__(self) -> None:
        self._check_times()
        self._check_size()
        self._check_models()

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

    def _check_models(self) -> None:
        """An event is billed at one model; a part that names none is of the event's."""
        models = {part.model or self.model for part in self.usage.parts or ()}
        if len(models) > 1:
            raise problem_at(
                "usage.parts",
                ", ".join(sorted(model or "no model" for model in models)),
                "send an event for each model",
                "several_models",
            )

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


_SIDES = ("input", "output")
_LEAVES = (
    *(("input", leaf.name) for leaf in fields(InputLeaves)),
    *(("output", leaf.name) for leaf in fields(OutputLeaves)),
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
        said = f"{total} against leaves of {known + (main or 0)}"
        action = "send a total equal to the sum of its disjoint leaves"
        raise problem_at(total_name, said, action, "sum_mismatch")
    return main


def _side_total(main: int | None, *others: int | None) -> int | None:
    if main is None:
        return None
    return main + sum(tokens for tokens in others if tokens is not None)
