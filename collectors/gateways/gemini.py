"""Gemini's `usageMetadata` to disjoint token leaves: thoughts stand beside the candidates.

The prompt contains what was cached; what a tool put into the prompt stands beside it. The total is
prompt + tool use + candidates + thoughts, and is held to that.
"""

from collectors.errors import GatewayUsageError
from collectors.gateways.fields import RawUsage, UsageBody, body, count, needed, rest, unread

_TOTAL = "totalTokenCount"
_KNOWN = frozenset(
    {
        "promptTokenCount",
        "cachedContentTokenCount",
        "toolUsePromptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        _TOTAL,
    }
)
_MODALITIES = {"promptTokensDetails": "input", "candidatesTokensDetails": "output"}


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    result = body(input_leaves=_input(usage), output_leaves=_output(usage), complete=complete)
    _check_total(usage, result)
    added = {"modality": _modalities(usage), "other": unread(usage, _KNOWN)}
    return result | {name: counts for name, counts in added.items() if counts}


def _input(usage: RawUsage) -> UsageBody:
    prompt = needed(usage, "promptTokenCount")
    cached = count(usage, "cachedContentTokenCount")
    leaves: UsageBody = {
        "uncached": rest(prompt, (cached,), name="promptTokenCount"),
        # Left out where nothing was cached, as every count of nothing is.
        "cache_read": cached or 0,
        "cache_write": 0,
    }
    tools = count(usage, "toolUsePromptTokenCount")
    return leaves | ({"tool_use": tools} if tools is not None else {})


def _output(usage: RawUsage) -> UsageBody:
    return {
        "visible": count(usage, "candidatesTokenCount") or 0,
        "reasoning": count(usage, "thoughtsTokenCount") or 0,
    }


def _check_total(usage: RawUsage, read: UsageBody) -> None:
    total, found = count(usage, _TOTAL), read["input_total"] + read["output_total"]
    if total is not None and total != found:
        raise GatewayUsageError(
            f"usage.{_TOTAL}: found {total}, but its parts are {found}; say what the rest is"
        )


def _modalities(usage: RawUsage) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, side in _MODALITIES.items():
        for one in usage.get(name) or ():
            tokens = count(one, "tokenCount")
            if tokens is not None:
                found[f"{side}.{str(one.get('modality', 'unspecified')).lower()}"] = tokens
    return found
