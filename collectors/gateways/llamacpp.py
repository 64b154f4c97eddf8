"""llama.cpp's `timings` to disjoint token leaves: what was worked on and what its cache had, apart.

The `usage` beside them is OpenAI's; these tell the cache where that does not.
"""

from collectors.gateways.fields import (
    RawUsage,
    UsageBody,
    body,
    checked,
    count,
    details,
    needed,
    unread,
)

_PROMPT, _CACHED, _ANSWER = "prompt_n", "cache_n", "predicted_n"
# Of speculative decoding: drafts are work, and no tokens of an answer.
_KNOWN = frozenset({_PROMPT, _CACHED, _ANSWER, "draft_n", "draft_n_accepted"})


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    usage = checked(usage)
    timings = details(usage, "timings") or usage
    cached = count(timings, _CACHED)
    result = body(
        input_leaves={
            "uncached": needed(timings, _PROMPT),
            "cache_read": cached,
            # Its cache takes what it worked on, at no price of its own.
            "cache_write": None if cached is None else 0,
        },
        output_leaves={"visible": needed(timings, _ANSWER), "reasoning": None},
        complete=complete,
    )
    # Times beside the counts are no counts, whole or not.
    counts = {name: value for name, value in timings.items() if not name.endswith("_ms")}
    other = unread(counts, _KNOWN)
    return {**result, "other": other} if other else result
