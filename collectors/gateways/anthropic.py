"""An Anthropic `usage` object to disjoint token leaves: input excludes cache reads and writes.

In a stream each object is cumulative: pass the last one seen, merged over the one of message_start.
An answer of several turns of the model lists them as `iterations`; what one of them compacted is
in none of the totals beside them, so that the turns are what counts.
"""

from collections import Counter
from collections.abc import Mapping

from collectors.errors import GatewayUsageError
from collectors.gateways.fields import (
    LIFETIMES,
    TOOLS,
    RawUsage,
    UsageBody,
    body,
    checked,
    count,
    counts_at,
    details,
    listed,
    needed,
    rest,
    tool_calls,
    unread,
    writes,
)

_ITERATIONS = "iterations"
_INPUTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_COUNTS = ("output_tokens", *_INPUTS)
_THINKING = "thinking_tokens"
# Objects that are read, and what is read in them.
_OBJECTS = {
    "cache_creation": frozenset(LIFETIMES),
    "server_tool_use": frozenset(TOOLS),
    "output_tokens_details": frozenset({_THINKING}),
}
# Of one of the iterations, these alone.
_OBJECTS_INSIDE = {"cache_creation": frozenset(LIFETIMES)}


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    usage = checked(usage)
    iterations = [_with_writes(each) for each in listed(usage, _ITERATIONS)]
    usage = _iterations_summed(usage, iterations)
    result = body(input_leaves=_input(usage), output_leaves=_output(usage), complete=complete)
    added = {
        # No turn read more than its own input: their sum is no context of any.
        "context_tokens": max(map(_read_at_once, iterations), default=0),
        "other": tool_calls(details(usage, "server_tool_use"))
        | _unread(usage)
        | _unread_inside(iterations),
    }
    return result | {name: said for name, said in added.items() if said}


def _read_at_once(iteration: RawUsage) -> int:
    return sum(tokens or 0 for tokens in counts_at(iteration, _INPUTS).values())


def _iterations_summed(usage: RawUsage, iterations: list[RawUsage]) -> RawUsage:
    """The usage with the sums of its turns for its counts; refuses turns of several models."""
    if not iterations:
        return usage
    # What compacts names no model. Of other turns, one that names none is of the answer's own.
    models = {
        str(iteration.get("model") or "the answer's own model")
        for iteration in iterations
        if iteration.get("model") or iteration.get("type") != "compaction"
    }
    if len(models) > 1:
        named = ", ".join(sorted(models))
        raise GatewayUsageError(f"usage.{_ITERATIONS}: of {named}; send an event for each model")
    counts = _sums(iterations, _COUNTS)
    for name, tokens in counts_at(usage, _COUNTS).items():
        if tokens is not None and tokens > (counts.get(name) or 0):
            raise GatewayUsageError(
                f"usage.{_ITERATIONS}: their {name} add up to {counts.get(name)}, less than the"
                f" {tokens} beside them; send every turn"
            )
    splits = _sums([details(iteration, "cache_creation") for iteration in iterations], LIFETIMES)
    return {**usage, **counts, "cache_creation": splits}


def _with_writes(iteration: RawUsage) -> RawUsage:
    """A turn with the total of its cache writes, where it gives their split alone."""
    split = counts_at(details(iteration, "cache_creation"), LIFETIMES)
    written = sum(tokens for tokens in split.values() if tokens is not None)
    if not written or count(iteration, "cache_creation_input_tokens"):
        return iteration
    return {**iteration, "cache_creation_input_tokens": written}


def _sums(parts: list[RawUsage], names: tuple[str, ...]) -> dict[str, int]:
    """What the parts add up to, of the names that any of them gives."""
    sums: dict[str, int] = {}
    for part in parts:
        for name, number in counts_at(part, names).items():
            if number is not None:
                sums[name] = sums.get(name, 0) + number
    return sums


def _input(usage: RawUsage) -> UsageBody:
    leaves: UsageBody = {
        "uncached": needed(usage, "input_tokens"),
        "cache_read": count(usage, "cache_read_input_tokens"),
    }
    total = count(usage, "cache_creation_input_tokens")
    return leaves | writes(total, details(usage, "cache_creation"))


def _output(usage: RawUsage) -> UsageBody:
    total = needed(usage, "output_tokens")
    thinking = count(details(usage, "output_tokens_details"), _THINKING)
    return {"visible": rest(total, (thinking,), name="output_tokens"), "reasoning": thinking}


def _unread(usage: RawUsage) -> dict[str, int]:
    return _beyond(usage, (*_COUNTS, _ITERATIONS), _OBJECTS, within="unread")


def _unread_inside(iterations: list[RawUsage]) -> dict[str, int]:
    """What nobody reads of the turns, added up over them."""
    sums: Counter[str] = Counter()
    for iteration in iterations:
        sums.update(_beyond(iteration, _COUNTS, _OBJECTS_INSIDE, within=f"unread.{_ITERATIONS}"))
    return dict(sums)


def _beyond(
    usage: RawUsage,
    counts: tuple[str, ...],
    objects: Mapping[str, frozenset[str]],
    *,
    within: str,
) -> dict[str, int]:
    """Counts beside those that are read, of the usage and of the objects in it."""
    numbers = unread(usage, frozenset((*counts, *objects)), within=within)
    for name, known in objects.items():
        numbers |= unread(details(usage, name), known, within=f"{within}.{name}")
    return numbers
