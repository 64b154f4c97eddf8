"""A Bedrock Converse `usage` object to disjoint token leaves: input excludes what was cached.

The total is held to its parts; a model without prompt caching says nothing of it, and then nothing
was read from a cache or written to one.
"""

from collections import Counter

from collectors.errors import GatewayUsageError
from collectors.gateways.fields import (
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

# Of Converse, and of its streams at first.
_READ = ("cacheReadInputTokens", "cacheReadInputTokenCount")
_WRITTEN = ("cacheWriteInputTokens", "cacheWriteInputTokenCount")
# Of Converse, and of the metrics that end a stream of InvokeModel.
_INPUT, _OUTPUT = ("inputTokens", "inputTokenCount"), ("outputTokens", "outputTokenCount")
_TOTAL, _SPLIT = "totalTokens", "cacheDetails"
_TIMES = ("invocationLatency", "firstByteLatency")
_KNOWN = frozenset({*_INPUT, *_OUTPUT, _TOTAL, _SPLIT, *_READ, *_WRITTEN, *_TIMES})
_LIFETIMES = {"5m": "cache_write_5m", "1h": "cache_write_1h"}


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    usage = checked(usage)
    written = agreed("cache writes", counts_at(usage, _WRITTEN)) or 0
    result = body(
        input_leaves={
            "uncached": needed(usage, *_INPUT),
            "cache_read": agreed("cache reads", counts_at(usage, _READ)) or 0,
            **_writes(usage, written),
        },
        # No model says here how much of its answer was reasoning.
        output_leaves={"visible": needed(usage, *_OUTPUT), "reasoning": None},
        complete=complete,
    )
    total, parts = count(usage, _TOTAL), result["input_total"] + result["output_total"]
    # Some models count in their total what was cached, and some leave it out.
    if total not in {None, parts, needed(usage, *_INPUT) + result["output_total"]}:
        raise GatewayUsageError(
            f"usage.{_TOTAL}: found {total}, but its parts are {parts}; say what the rest is"
        )
    other = unread(usage, _KNOWN)
    return {**result, "other": other} if other else result


def _writes(usage: RawUsage, written: int) -> UsageBody:
    split: Counter[str] = Counter()
    for write in listed(usage, _SPLIT):
        # Of a lifetime that has no price of its own here it is a write like any.
        split[_LIFETIMES.get(str(write.get("ttl")), "")] += needed(write, "inputTokens")
    parts = {name: split[name] for name in _LIFETIMES.values() if split[name]}
    # A total of nothing beside a split is a field left unfilled.
    total = written or split.total()
    return {"cache_write": rest(total, tuple(parts.values()), name=_WRITTEN[0]), **parts}
