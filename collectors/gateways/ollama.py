"""The counts of an Ollama answer to disjoint token leaves: a count of zero is left out of it.

No prompt is of nothing: where an answer has no count of it, it was in the cache, and unknown. So is
what else was kept there, and how much of an answer was thinking.
"""

from collectors.errors import GatewayUsageError
from collectors.gateways.fields import RawUsage, UsageBody, body, checked, count, unread

_PROMPT, _ANSWER = "prompt_eval_count", "eval_count"
# Times in nanoseconds stand beside the counts, and none of them is a count.
_TIMES = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
_KNOWN = frozenset({_PROMPT, _ANSWER, *_TIMES, "context"})


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    usage = checked(usage)
    prompt, answer = count(usage, _PROMPT), count(usage, _ANSWER)
    if prompt is None and answer is None:
        raise GatewayUsageError(f"usage.{_PROMPT}: missing; send the answer whose done is true")
    result = body(
        input_leaves={"uncached": prompt, "cache_read": None, "cache_write": None},
        output_leaves={"visible": answer or 0, "reasoning": None},
        complete=complete and usage.get("done") is not False,
    )
    other = unread(usage, _KNOWN)
    return {**result, "other": other} if other else result
