"""What the gateways share: reading a provider's counts strictly, and the shape of `data.usage`."""

from collections.abc import Mapping
from typing import Any

from collectors.errors import GatewayUsageError

RawUsage = Mapping[str, Any]
UsageBody = dict[str, Any]


def count(usage: RawUsage, name: str) -> int | None:
    """A count by its name; None when absent or null; refuses what is not a whole number."""
    value = usage.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise GatewayUsageError(f"usage.{name}: found {value!r}; send a whole number of tokens")
    return value


def needed(usage: RawUsage, *names: str) -> int:
    """The first of these counts that is there."""
    for name in names:
        value = count(usage, name)
        if value is not None:
            return value
    raise GatewayUsageError(f"usage.{names[0]}: missing; ask the server for final usage")


def details(usage: RawUsage, *names: str) -> RawUsage:
    """The first of these nested objects that is there, else an empty one."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, Mapping):
            return value
    return {}


def rest(total: int, known: tuple[int | None, ...], *, name: str) -> int:
    """What remains of a total after its known parts; refuses parts larger than the total."""
    remaining = total - sum(part for part in known if part is not None)
    if remaining < 0:
        raise GatewayUsageError(f"usage.{name}: found {total}, less than the parts inside it")
    return remaining


def body(*, input_leaves: UsageBody, output_leaves: UsageBody, complete: bool) -> UsageBody:
    """`data.usage` with its totals; a count that is not final is marked as running."""
    return {
        "input": input_leaves,
        "output": output_leaves,
        "input_total": _total(input_leaves),
        "output_total": _total(output_leaves),
        "source": "provider_final" if complete else "provider_running",
        "complete": complete,
    }


def _total(leaves: UsageBody) -> int:
    return sum(tokens for tokens in leaves.values() if tokens is not None)
