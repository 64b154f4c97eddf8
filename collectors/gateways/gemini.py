"""Gemini's `usageMetadata` to disjoint token leaves: thoughts stand beside the candidates.

The prompt contains what was cached; what a tool put into the prompt stands beside it. The total is
prompt + tool use + candidates + thoughts, and is held to that; where it says that a server counts
thoughts among the candidates, they are taken out of them.
"""

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
    listed,
    needed,
    rest,
    unread,
)

_TOTAL = "totalTokenCount"
# Of an answer, and of a live session.
_ANSWER = ("candidatesTokenCount", "responseTokenCount")
_KNOWN = frozenset(
    {
        "promptTokenCount",
        "cachedContentTokenCount",
        "toolUsePromptTokenCount",
        *_ANSWER,
        "thoughtsTokenCount",
        _TOTAL,
    }
)
_MODALITIES = {
    "promptTokensDetails": "input",
    "toolUsePromptTokensDetails": "input",
    "cacheTokensDetails": "cache_read",
    "candidatesTokensDetails": "output",
    "responseTokensDetails": "output",
}


# Names of the interactions API; the client's own are those of answers in another case.
_INTERACTIONS = {
    "total_input_tokens": "promptTokenCount",
    "total_cached_tokens": "cachedContentTokenCount",
    "total_tool_use_tokens": "toolUsePromptTokenCount",
    "total_output_tokens": "candidatesTokenCount",
    "total_thought_tokens": "thoughtsTokenCount",
    "total_tokens": _TOTAL,
}


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    usage = _named(checked(usage))
    inputs = _input(usage)
    outputs = _output(usage, sum(tokens for tokens in inputs.values() if tokens is not None))
    result = body(input_leaves=inputs, output_leaves=outputs, complete=complete)
    _check_total(usage, result)
    tools = inputs.get("tool_use")
    added = {
        "modality": _modalities(usage),
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
    return known if known in _KNOWN or known in _MODALITIES else name


def _input(usage: RawUsage) -> UsageBody:
    # A count of nothing is left out; the total tells that this one is.
    unsaid = count(usage, _TOTAL) is not None and usage.get("promptTokenCount") is None
    prompt = 0 if unsaid else needed(usage, "promptTokenCount")
    cached = count(usage, "cachedContentTokenCount")
    leaves: UsageBody = {
        "uncached": rest(prompt, (cached,), name="promptTokenCount"),
        # Left out where nothing was cached, as every count of nothing is.
        "cache_read": cached or 0,
        "cache_write": 0,
    }
    tools = count(usage, "toolUsePromptTokenCount")
    return leaves | ({"tool_use": tools} if tools is not None else {})


def _output(usage: RawUsage, input_total: int) -> UsageBody:
    answer = agreed("candidates", counts_at(usage, _ANSWER)) or 0
    thoughts = count(usage, "thoughtsTokenCount") or 0
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
    tokens_by_kind: dict[str, int] = {}
    for name, side in _MODALITIES.items():
        for counted in listed(usage, name):
            tokens = agreed("tokens", counts_at(counted, ("tokenCount", "token_count")))
            if tokens is not None:
                named = str(counted.get("modality", "unspecified")).lower()
                kind = f"{side}.{named}"[:NAME_MAX]
                tokens_by_kind[kind] = tokens_by_kind.get(kind, 0) + tokens
    return tokens_by_kind
