"""Attributes of an OpenTelemetry span of generative AI to disjoint leaves, in every spelling.

Input contains what a cache had and took, output contains reasoning; where a grand total says that
who wrote the span counts them beside it, they are. A span of an agent or a workflow repeats what
its model calls used, and is refused.
"""

from collectors.errors import GatewayUsageError
from collectors.gateways.fields import (
    RawUsage,
    UsageBody,
    agreed,
    body,
    checked,
    counts_at,
    held_to_sides,
    needed,
    rest,
    unread,
    whole,
)

_PREFIX = "gen_ai.usage."
# OpenInference's names, of spans whose kind it says.
_INFERENCE = "llm.token_count."
_INFERENCE_KIND = "openinference.span.kind"
_INFERENCE_CALLS = frozenset({"LLM", "EMBEDDING", "RERANKER"})
_INPUT = (
    *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    f"{_INFERENCE}prompt",
)
_OUTPUT = (
    *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    f"{_INFERENCE}completion",
)
# Vercel's count of what was cached, and of the rest, which it tells since input has both.
_VERCEL_READ, _VERCEL_FRESH = (
    "ai.usage.cachedInputTokens",
    "ai.usage.inputTokenDetails.noCacheTokens",
)
_VERCEL_PROVIDER = "ai.model.provider"
# As the conventions have and had them, and as pydantic's libraries hand on what a provider said.
# Sentry's, and Vercel's beside them, follow.
_READ = (
    *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
    *("gen_ai.usage.details.cache_read_tokens", "gen_ai.usage.details.cache_read_input_tokens"),
    *("gen_ai.usage.details.cached_tokens", "gen_ai.usage.input_tokens.cached"),
    *("gen_ai.usage.cache_read_tokens", "gen_ai.usage.cached_input_tokens"),
    *(_VERCEL_READ, "ai.usage.inputTokenDetails.cacheReadTokens"),
    f"{_INFERENCE}prompt_details.cache_read",
)
_WRITTEN = (
    *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens"),
    *("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.details.cache_write_tokens"),
    *("gen_ai.usage.details.cache_creation_input_tokens", "gen_ai.usage.cache_write_tokens"),
    *("gen_ai.usage.input_tokens.cache_write", "ai.usage.inputTokenDetails.cacheWriteTokens"),
    f"{_INFERENCE}prompt_details.cache_write",
)
_REASONING = (
    *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    *("gen_ai.usage.details.reasoning_tokens", "gen_ai.usage.output_tokens.reasoning"),
    *("ai.usage.reasoningTokens", "ai.usage.outputTokenDetails.reasoningTokens"),
    f"{_INFERENCE}completion_details.reasoning",
)
_TOTAL = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", f"{_INFERENCE}total")
_MODALITY = {
    f"{_PREFIX}{kind}.{side}_tokens": f"{side}.{kind}"
    for kind in ("text", "image", "audio", "video")
    for side in ("input", "output")
} | {
    f"{_INFERENCE}prompt_details.audio": "input.audio",
    f"{_INFERENCE}completion_details.audio": "output.audio",
}
_KNOWN = frozenset((*_INPUT, *_OUTPUT, *_READ, *_WRITTEN, *_REASONING, *_MODALITY, *_TOTAL))
_OPERATION = "gen_ai.operation.name"
_WITHOUT_OUTPUT = frozenset({"embeddings", "rerank"})
# What one of these used, spans of model calls below it say too.
_REPEATING = frozenset(
    {"invoke_agent", "invoke_workflow", "execute_tool", "fetch_response", "plan"}
)


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one span's attributes; `complete` is false for a span that did not end."""
    usage = checked(usage)
    operation = _operation(usage)
    if operation in _REPEATING:
        raise GatewayUsageError(
            f"usage.{_OPERATION}: {operation} repeats the model calls in it; send those"
        )
    _check_kind(usage)
    _check_vercel(usage)
    read = agreed("cache reads", counts_at(usage, _READ))
    written = agreed("cache writes", counts_at(usage, _WRITTEN))
    reasoning = agreed("reasoning tokens", counts_at(usage, _REASONING))
    prompt, answer = _totals(usage, cached=(read or 0) + (written or 0), reasoning=reasoning or 0)
    result = body(
        input_leaves={
            "uncached": rest(prompt, (read, written), name=_INPUT[0]),
            "cache_read": read,
            "cache_write": written,
        },
        output_leaves={
            "visible": rest(answer, (reasoning,), name=_OUTPUT[0]),
            "reasoning": reasoning,
        },
        complete=complete,
    )
    modality = {
        ours: tokens
        for theirs, ours in _MODALITY.items()
        if (tokens := counts_at(usage, [theirs])[theirs]) is not None
    }
    own = {name: value for name, value in usage.items() if name.startswith((_PREFIX, _INFERENCE))}
    added = {"modality": held_to_sides(modality, result), "other": unread(own, _KNOWN)}
    return result | {name: counts for name, counts in added.items() if counts}


def _operation(usage: RawUsage) -> str:
    """What the span did; attributes of another kind than text say nothing of it."""
    said = usage.get(_OPERATION)
    return said if isinstance(said, str) else ""


def _answered(usage: RawUsage) -> int:
    """Tokens that came out: an embedding has none, and its span says nothing of them."""
    silent = all(number is None for number in counts_at(usage, _OUTPUT).values())
    without = _operation(usage) in _WITHOUT_OUTPUT or usage.get(_INFERENCE_KIND) == "EMBEDDING"
    return 0 if silent and without else needed(usage, *_OUTPUT)


def _totals(usage: RawUsage, *, cached: int, reasoning: int) -> tuple[int, int]:
    """Input and output with their parts in them, whichever way adds up to the grand total."""
    prompt, answer = needed(usage, *_INPUT), _answered(usage)
    total = agreed("totals", counts_at(usage, _TOTAL))
    if not total:
        return prompt, answer
    ways = {
        (prompt + beside, answer + thought) for beside in (0, cached) for thought in (0, reasoning)
    }
    fitting = [way for way in ways if sum(way) == total]
    if len(fitting) != 1:
        raise GatewayUsageError(
            f"usage.{_TOTAL[0]}: found {total}, but input and output are {prompt + answer}; say"
            " what the rest is"
        )
    return fitting[0]


def _check_kind(usage: RawUsage) -> None:
    """Refuse what OpenInference calls a chain, an agent or a tool: it repeats the calls in it."""
    kind = usage.get(_INFERENCE_KIND)
    if isinstance(kind, str) and kind.upper() not in _INFERENCE_CALLS:
        raise GatewayUsageError(
            f"usage.{_INFERENCE_KIND}: {kind} repeats the model calls in it; send those"
        )


def _check_vercel(usage: RawUsage) -> None:
    """Refuse a count of what was cached that may lie in the input or beside it."""
    provider = str(usage.get(_VERCEL_PROVIDER, ""))
    beside = any(name in provider for name in ("anthropic", "bedrock"))
    if beside and whole(usage.get(_VERCEL_READ)) and usage.get(_VERCEL_FRESH) is None:
        raise GatewayUsageError(
            f"usage.{_VERCEL_READ}: of {provider} it was beside the input in older versions; "
            f"send {_VERCEL_FRESH} too"
        )
