"""Gemini's `usageMetadata` to disjoint token leaves: thoughts stand beside the candidates.

The prompt contains what was cached; what a tool put into the prompt stands beside it. The total is
prompt + tool use + candidates + thoughts, and is held to that; where it says that a server counts
thoughts among the candidates, they are taken out of them.
"""

from collections import Counter

from collectors.errors import GatewayUsageError
from collectors.gateways.fields import (
    NAME_MAX,
    RawUsage,
    UsageBody,
    agreed,
    body,
    checked,
    count,
    counts_at,
    held_to_sides,
    listed,
    needed,
    rest,
    unread,
)

_TOTAL = "totalTokenCount"
_PROMPT, _CACHED = "promptTokenCount", "cachedContentTokenCount"
_TOOLS, _THOUGHTS = "toolUsePromptTokenCount", "thoughtsTokenCount"
# Of an answer, and of a live session.
_ANSWER = ("candidatesTokenCount", "responseTokenCount")
_MODALITIES = {
    "promptTokensDetails": "input",
    "toolUsePromptTokensDetails": "input",
    "cacheTokensDetails": "cache_read",
    "candidatesTokensDetails": "output",
    "responseTokensDetails": "output",
}
_KNOWN = frozenset({_PROMPT, _CACHED, _TOOLS, *_ANSWER, _THOUGHTS, _TOTAL, *_MODALITIES})
# What details split, and add up to where it is not said itself.
_SPLITS = {
    "promptTokensDetails": (_PROMPT,),
    "cacheTokensDetails": (_CACHED,),
    "toolUsePromptTokensDetails": (_TOOLS,),
    "candidatesTokensDetails": _ANSWER,
    "responseTokensDetails": _ANSWER,
}
# Names of the interactions API; the client's own are those of answers in another case.
_INTERACTIONS = {
    "total_input_tokens": _PROMPT,
    "total_cached_tokens": _CACHED,
    "total_tool_use_tokens": _TOOLS,
    "total_output_tokens": _ANSWER[0],
    "total_thought_tokens": _THOUGHTS,
    "total_tokens": _TOTAL,
}


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    usage = _with_sums(_named(checked(usage)))
    inputs = _input(usage)
    outputs = _output(usage, sum(tokens for tokens in inputs.values() if tokens is not None))
    result = body(input_leaves=inputs, output_leaves=outputs, complete=complete)
    _check_total(usage, result)
    tools = inputs.get("tool_use")
    added = {
        "modality": held_to_sides(_modalities(usage), result),
        "other": unread(usage, _KNOWN),
        # Prices by context look at the prompt, without what tools put beside it.
        "context_tokens": inputs["uncached"] + inputs["cache_read"] if tools else 0,
    }
    return result | {name: counts for name, counts in added.items() if counts}


def _named(usage: RawUsage) -> RawUsage:
    """The same under the names that answers have."""
    return {_INTERACTIONS.get(name, _camel(name)): value for name, value in usage.items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    known = first + "".join(map(str.capitalize, others))
    return known if known in _KNOWN else name


def _with_sums(usage: RawUsage) -> RawUsage:
    """The same with a count that only its details tell."""
    sums = {
        names[0]: tokens
        for split, names in _SPLITS.items()
        if (tokens := sum(map(_tokens, listed(usage, split))))
        and not any(counts_at(usage, names).values())
    }
    return {**usage, **sums}


def _tokens(detail: RawUsage) -> int:
    return agreed("tokens", counts_at(detail, ("tokenCount", "token_count"))) or 0


def _input(usage: RawUsage) -> UsageBody:
    # A count of nothing is left out; the total tells that this one is.
    unsaid = count(usage, _TOTAL) is not None and usage.get(_PROMPT) is None
    prompt = 0 if unsaid else needed(usage, _PROMPT)
    cached = count(usage, _CACHED)
    leaves: UsageBody = {
        "uncached": rest(prompt, (cached,), name=_PROMPT),
        # Left out where nothing was cached, as every count of nothing is.
        "cache_read": cached or 0,
        "cache_write": 0,
    }
    tools = count(usage, _TOOLS)
    return leaves | ({"tool_use": tools} if tools is not None else {})


def _output(usage: RawUsage, input_total: int) -> UsageBody:
    answer = agreed("candidates", counts_at(usage, _ANSWER)) or 0
    thoughts = count(usage, _THOUGHTS) or 0
    inside = thoughts and count(usage, _TOTAL) == input_total + answer
    visible = rest(answer, (thoughts,), name=_ANSWER[0]) if inside else answer
    return {"visible": visible, "reasoning": thoughts}


def _check_total(usage: RawUsage, read: UsageBody) -> None:
    total, parts = count(usage, _TOTAL), read["input_total"] + read["output_total"]
    if total is not None and total != parts:
        raise GatewayUsageError(
            f"usage.{_TOTAL}: found {total}, but its parts are {parts}; say what the rest is"
        )


def _modalities(usage: RawUsage) -> dict[str, int]:
    tokens_by_kind: Counter[str] = Counter()
    for name, side in _MODALITIES.items():
        for detail in listed(usage, name):
            named = str(detail.get("modality", "unspecified")).lower()
            tokens_by_kind[f"{side}.{named}"[:NAME_MAX]] += _tokens(detail)
    return dict(tokens_by_kind)
