"""A Cohere `usage` object to disjoint token leaves: what was billed, or where it is not said, used.

`billed_units` leaves out what Cohere puts around a prompt and counts in `tokens`; what is kept is
what the provider charges for. Search units and classifications are no tokens.
"""

from collectors.errors import GatewayUsageError
from collectors.gateways.fields import (
    RawUsage,
    UsageBody,
    body,
    checked,
    count,
    details,
    unread,
    whole,
)

_BOTH = _BILLED, _USED = "billed_units", "tokens"
_COUNTS = ("input_tokens", "output_tokens")
_CACHED = "cached_tokens"
_KNOWN = frozenset({_BILLED, _USED, _CACHED})


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    usage = checked(usage)
    billed, used = ({n: whole(v) for n, v in details(usage, each).items()} for each in _BOTH)
    counts = billed if any(count(billed, name) is not None for name in _COUNTS) else used
    given = [count(counts, name) for name in _COUNTS]
    beside = unread(billed, frozenset(_COUNTS), within=_BILLED)
    if given == [None, None] and not beside:
        raise GatewayUsageError(f"usage.{_BILLED}: counts nothing; ask the server for final usage")
    # An embedding has no output, and reranking is charged by searches: neither says anything of it.
    prompt, answer = (tokens or 0 for tokens in given)
    result = body(
        input_leaves={"uncached": prompt, "cache_read": None, "cache_write": None},
        output_leaves={"visible": answer, "reasoning": None},
        complete=complete,
    )
    cached = count(usage, _CACHED)
    other = unread(usage, _KNOWN) | beside | ({_CACHED: cached} if cached else {})
    return {**result, "other": other} if other else result
