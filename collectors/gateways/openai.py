"""An OpenAI-style `usage` object, of chat completions, responses or realtime, to disjoint leaves.

Totals there include their parts: input contains cached and written tokens, output contains
reasoning and rejected predictions. Servers and relays write the same count in fields of their own:
every place known is read, and the places have to agree. Servers that leave the details out (vLLM
without its switch) leave the split unknown: null here, never zero.
"""

from collections.abc import Mapping
from types import MappingProxyType

from collectors.errors import GatewayUsageError
from collectors.gateways.fields import (
    LIFETIMES,
    NAME_MAX,
    TOOLS,
    RawUsage,
    UsageBody,
    agreed,
    body,
    checked,
    count,
    counts_at,
    details,
    held_to_sides,
    needed,
    rest,
    tool_calls,
    unread,
    whole,
    writes,
)

# In the plural, and as realtime and Mistral write them.
_INPUT_DETAILS = (
    *("prompt_tokens_details", "input_tokens_details"),
    *("input_token_details", "prompt_token_details"),
)
_OUTPUT_DETAILS = (
    *("completion_tokens_details", "output_tokens_details"),
    *("output_token_details", "completion_token_details"),
)
# A transcription that is charged by its length has no tokens.
_BY_DURATION = "duration"
SECONDS_MAX = 10**9
_LIFETIMES = ("cache_creation", "cache_creation_token_details")
# Chat and responses; LiteLLM's and Bedrock's relays of Anthropic.
_CACHED_INSIDE = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens")
_WRITTEN_INSIDE = (
    *("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens"),
    *("cache_write_input_tokens", "cache_write_input_token_count"),
)
# Moonshot; Codex; DeepSeek; Mistral; agents' own records; Anthropic's names beside OpenAI's; sums
# of an organisation; xAI's own library; Amazon's and Google's names in relays.
_CACHED = (
    *(*_CACHED_INSIDE, "cached_input_tokens", "prompt_cache_hit_tokens"),
    *("num_cached_tokens", "prompt_cached_tokens", "cached_prompt_tokens"),
    *("input_cached_tokens", "cached_prompt_text_tokens", "cache_hit_tokens"),
    *("cache_read_input_token_count", "cached_content_token_count", "cached_token_count"),
)
_WRITTEN = (*_WRITTEN_INSIDE, "input_cache_write_tokens")
_MISSED = "prompt_cache_miss_tokens"
# Of an organisation's sums: neither cached nor written.
_FRESH = "input_uncached_tokens"
# SGLang has reasoning at the top, Codex under a name of its own.
_REASONING = ("reasoning_tokens", "reasoning_output_tokens", "thinking_tokens")
_INPUT_TOTALS = ("prompt_tokens", "input_tokens")
_OUTPUT_TOTALS = ("completion_tokens", "output_tokens")
_TOTALS = (*_INPUT_TOTALS, *_OUTPUT_TOTALS, "total_tokens")
_OBJECTS = (*_INPUT_DETAILS, *_OUTPUT_DETAILS, *_LIFETIMES)
# What Perplexity counts of its research, the reasoning in which is in none of its totals.
_RESEARCHED = ("citation_tokens", "num_search_queries")
# What was heard, of transcriptions and of Mistral's prompts.
_SECONDS = ("seconds", "prompt_audio_seconds")
# Tools that a relay of Anthropic's answers counts; LiteLLM has them in details too.
_TOOL_USE = "server_tool_use"
_KNOWN = frozenset(
    (
        *(*_TOTALS, *_CACHED, *_WRITTEN, *_REASONING, *_OBJECTS, *_SECONDS),
        *(_MISSED, _FRESH, _TOOL_USE),
    )
)
# Names of Anthropic's, whose `input_tokens` leaves out what was cached.
_BESIDE = ("cache_read_input_tokens", "cache_creation_input_tokens")
# Realtime splits what was cached by modality.
_CACHED_DETAILS = "cached_tokens_details"
_MODALITIES: Mapping[str, str] = MappingProxyType(
    {f"{kind}_tokens": kind for kind in ("text", "audio", "image", "video")}
)
# LangChain's names of what stands in details.
_INSIDE: Mapping[str, str] = MappingProxyType(
    {
        **{"cache_read": "cache_read_tokens", "cache_creation": "cache_creation_tokens"},
        **{"reasoning": "reasoning_tokens"},
        **{kind: name for name, kind in _MODALITIES.items()},
    }
)
_KNOWN_INSIDE = frozenset(
    (
        *(*_CACHED_INSIDE, *_WRITTEN_INSIDE, *_REASONING, *_MODALITIES, *_LIFETIMES),
        *(*LIFETIMES, _CACHED_DETAILS, "accepted_prediction_tokens", "rejected_prediction_tokens"),
    )
)


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    usage = checked(usage)
    heard = _heard(usage)
    if usage.get("type") == _BY_DURATION and (heard or whole(usage.get("seconds")) == 0):
        none: UsageBody = {"uncached": 0, "cache_read": 0, "cache_write": 0}
        silent: UsageBody = {"visible": 0, "reasoning": 0}
        result = body(input_leaves=none, output_leaves=silent, complete=complete)
        return result | ({"other": heard} if heard else {})
    inputs, outputs = (_details(usage, names) for names in (_INPUT_DETAILS, _OUTPUT_DETAILS))
    result = body(
        input_leaves=_input(usage, inputs), output_leaves=_output(usage, outputs), complete=complete
    )
    cached = details(inputs, _CACHED_DETAILS)
    modality = {
        **_modality("input", inputs),
        **_modality("cache_read", cached),
        **_modality("output", outputs),
    }
    inner = _beside_each_other(
        unread(inputs, _KNOWN_INSIDE | TOOLS.keys()), unread(outputs, _KNOWN_INSIDE)
    )
    other = heard | tool_calls(inputs) | _tools(usage) | unread(usage, _KNOWN) | inner
    added = {"modality": held_to_sides(modality, result), "other": other}
    return result | {name: counts for name, counts in added.items() if counts}


def _details(usage: RawUsage, names: tuple[str, ...]) -> RawUsage:
    """What stands in details, under the names that providers have; an object keeps its own."""
    inner = details(usage, *names)
    return {
        name if isinstance(value, Mapping) else _INSIDE.get(name, name): value
        for name, value in inner.items()
    }


def _beside_each_other(of_input: Mapping[str, int], of_output: Mapping[str, int]) -> dict[str, int]:
    """What nobody reads of either side, told apart where both have one name."""
    both = of_input.keys() & of_output.keys()
    sides = {"input": of_input, "output": of_output}
    return {
        f"{name}.{side}"[:NAME_MAX] if name in both else name: number
        for side, numbers in sides.items()
        for name, number in numbers.items()
    }


def _tools(usage: RawUsage) -> dict[str, int]:
    counted = details(usage, _TOOL_USE)
    return tool_calls(counted) | unread(counted, frozenset(TOOLS), within=f"unread.{_TOOL_USE}")


def _heard(usage: RawUsage) -> dict[str, int]:
    """Seconds of audio, where they are whole; milliseconds where they are not."""
    said = whole(next((usage[name] for name in _SECONDS if usage.get(name)), None))
    if isinstance(said, float) and not said.is_integer() and 0 < said < SECONDS_MAX:
        return {"audio.milliseconds": round(said * 1000)}
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said < SECONDS_MAX:
        return {}
    return {"audio.seconds": int(said)}


def _input(usage: RawUsage, inner: RawUsage) -> UsageBody:
    total = needed(usage, *_INPUT_TOTALS)
    _check_form(usage)
    cached = agreed("cached tokens", _counts_by_name(usage, _CACHED, inner, _CACHED_INSIDE))
    if not cached:
        cached = agreed("cached", {"": cached, "_": _summed(details(inner, _CACHED_DETAILS))})
    written = agreed("cache writes", _counts_by_name(usage, _WRITTEN, inner, _WRITTEN_INSIDE))
    cached = _but_missed(usage, total, cached)
    if written is None and cached is not None:
        # Who counts reads and charges for writes counts them; silence there means that none were.
        written = 0
    split = (
        details(inner, *_LIFETIMES) or details(usage, *_LIFETIMES) or counts_at(inner, LIFETIMES)
    )
    taken = writes(written, split)
    uncached = rest(total, (cached, *taken.values()), name="prompt_tokens")
    if count(usage, _FRESH) not in {None, 0, uncached}:
        raise GatewayUsageError(
            f"usage.{_FRESH}: found {usage[_FRESH]}, but {total} tokens less those cached and"
            f" written are {uncached}"
        )
    return {
        "uncached": uncached,
        "cache_read": cached,
        **taken,
    }


def _output(usage: RawUsage, inner: RawUsage) -> UsageBody:
    reasoning = agreed("reasoning tokens", _counts_by_name(usage, _REASONING, inner, _REASONING))
    total = _output_total(usage, reasoning)
    rejected = count(inner, "rejected_prediction_tokens")
    leaves: UsageBody = {
        "visible": rest(total, (reasoning, rejected), name="completion_tokens"),
        "reasoning": reasoning,
    }
    return leaves | ({"rejected_prediction": rejected} if rejected is not None else {})


def _output_total(usage: RawUsage, reasoning: int | None) -> int:
    """Output with reasoning inside; the grand total tells servers that count it beside (xAI)."""
    prompt, grand = needed(usage, *_INPUT_TOTALS), count(usage, "total_tokens")
    if grand == prompt and all(usage.get(name) is None for name in _OUTPUT_TOTALS):
        # Embeddings and reranking have no output, and say nothing of it.
        return 0
    output = needed(usage, *_OUTPUT_TOTALS)
    total = grand or prompt + output
    beside = total - prompt - output
    if not beside and any(usage.get(name) is not None for name in _RESEARCHED):
        return output + (reasoning or 0)
    if beside and beside != reasoning:
        raise GatewayUsageError(
            f"usage.total_tokens: found {total}, but input and output are {prompt + output}; "
            "say what the rest is"
        )
    return output + beside


def _check_form(usage: RawUsage) -> None:
    """Refuse Anthropic's form under OpenAI's name: its cached tokens lie beside the input."""
    if usage.get("prompt_tokens") is not None or not any(counts_at(usage, _BESIDE).values()):
        return
    made = needed(usage, *_INPUT_TOTALS) + needed(usage, *_OUTPUT_TOTALS)
    if count(usage, "total_tokens") != made:
        raise GatewayUsageError(
            "usage.input_tokens: beside cache_read_input_tokens or cache_creation_input_tokens it"
            " leaves out what was cached; read it as anthropic"
        )


def _summed(parts: RawUsage) -> int | None:
    known = [number for number in counts_at(parts, _MODALITIES).values() if number is not None]
    return sum(known) if known else None


def _but_missed(usage: RawUsage, total: int, cached: int | None) -> int | None:
    """What the cache had; where that is not said, all but what is said to have missed it."""
    missed = count(usage, _MISSED)
    if total and missed == 0 and not cached:
        # A prompt is in either: fields that a relay left unfilled.
        return None
    if missed is not None and cached is None:
        return rest(total, (missed,), name="prompt_tokens")
    if missed is not None and missed + (cached or 0) != total:
        raise GatewayUsageError(
            f"usage.{_MISSED}: found {missed}, but {total} tokens less {cached or 0} cached are "
            f"{total - (cached or 0)}"
        )
    return cached


def _counts_by_name(
    usage: RawUsage, names: tuple[str, ...], inner: RawUsage, inside: tuple[str, ...]
) -> dict[str, int | None]:
    nested = {f"details.{name}": number for name, number in counts_at(inner, inside).items()}
    return counts_at(usage, names) | nested


def _modality(side: str, inner: RawUsage) -> dict[str, int]:
    counts = {f"{side}.{kind}": count(inner, name) for name, kind in _MODALITIES.items()}
    return {key: tokens for key, tokens in counts.items() if tokens is not None}
