"""An Anthropic `usage` object to disjoint token leaves: input excludes cache reads and writes.

In a stream each object is cumulative: pass the last one seen, merged over the one of message_start.
"""

from collectors.gateways.fields import (
    RawUsage,
    UsageBody,
    body,
    count,
    details,
    needed,
    rest,
    unread,
    writes,
)

_KNOWN = frozenset(
    {
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    }
)


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    result = body(input_leaves=_input(usage), output_leaves=_output(usage), complete=complete)
    other = _other(details(usage, "server_tool_use")) | unread(usage, _KNOWN)
    return {**result, "other": other} if other else result


def _input(usage: RawUsage) -> UsageBody:
    leaves: UsageBody = {
        "uncached": needed(usage, "input_tokens"),
        "cache_read": count(usage, "cache_read_input_tokens"),
    }
    total = count(usage, "cache_creation_input_tokens")
    return leaves | writes(total, details(usage, "cache_creation"))


def _output(usage: RawUsage) -> UsageBody:
    total = needed(usage, "output_tokens")
    thinking = count(details(usage, "output_tokens_details"), "thinking_tokens")
    return {"visible": rest(total, (thinking,), name="output_tokens"), "reasoning": thinking}


def _other(tools: RawUsage) -> dict[str, int]:
    names = {
        "web_search_requests": "web_search.requests",
        "web_fetch_requests": "web_fetch.requests",
    }
    counts = {ours: count(tools, theirs) for theirs, ours in names.items()}
    return {name: number for name, number in counts.items() if number}
