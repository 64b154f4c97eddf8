"""What the gateways share: reading a provider's counts strictly, and the shape of `data.usage`."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from collectors.errors import GatewayUsageError
from ledger.wire.errors import shorten
from ledger.wire.extras import KINDS_OF
from ledger.wire.fields import COUNT_MAX

RawUsage = Mapping[str, Any]
UsageBody = dict[str, Any]
NAME_MAX = 128
DIGITS_MAX = 19
# Beyond it a double may be another whole number than was meant.
DOUBLE_EXACT_MAX = 2**53
# Anthropic's names of cache writes that last five minutes and an hour.
LIFETIMES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
# What Anthropic counts of tools, by its names and ours.
TOOLS = {"web_search_requests": "web_search.requests", "web_fetch_requests": "web_fetch.requests"}


def count(usage: RawUsage, name: str) -> int | None:
    """A count by its name; None when absent or null; refuses what is not a whole number."""
    value = whole(usage.get(name))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= COUNT_MAX:
        raise GatewayUsageError(
            f"usage.{name}: found {shorten(value)}; send a whole number of tokens"
        )
    return value


def whole(value: object) -> object:
    """A whole number that a library writes in another form, as that number; else what it is.

    Those that have counts as doubles (Cohere's, and protobuf's Struct) write 12.0, and JSON of
    protobuf writes 64 bits as "12".
    """
    if isinstance(value, float) and value.is_integer() and abs(value) <= DOUBLE_EXACT_MAX:
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX:
        return int(value)
    return value


def needed(usage: RawUsage, *names: str) -> int:
    """The count that is under these names, all of which mean the same."""
    value = agreed(names[0], counts_at(usage, names))
    if value is None:
        raise GatewayUsageError(f"usage.{names[0]}: missing; ask the server for final usage")
    return value


def agreed(name: str, numbers: Mapping[str, int | None]) -> int | None:
    """The one count that several places give; a zero beside a count is a field left unfilled.

    None where no place gives it; refuses places that give different counts.
    """
    given = {path: number for path, number in numbers.items() if number is not None}
    counted = {path: number for path, number in given.items() if number}
    if len(set(counted.values())) > 1:
        said = ", ".join(f"{path} {number}" for path, number in counted.items())
        raise GatewayUsageError(f"usage: {name} differ: {said}; send one count")
    return next(iter(counted.values()), 0 if given else None)


def counts_at(usage: RawUsage, names: Iterable[str]) -> dict[str, int | None]:
    """The counts of these names, None for those that are absent."""
    return {name: count(usage, name) for name in names}


def checked(usage: object) -> RawUsage:
    """A usage object as it came; refuses an answer without one, as of a broken stream."""
    if not isinstance(usage, Mapping):
        raise GatewayUsageError(f"usage: found {shorten(usage)}; ask the server for final usage")
    return usage


def listed(usage: RawUsage, name: str) -> list[RawUsage]:
    """The objects of a list by its name, none where it is absent; refuses what is no list."""
    value = usage.get(name)
    if value is not None and not isinstance(value, list | tuple):
        raise GatewayUsageError(f"usage.{name}: found {shorten(value)}; send a list of counts")
    return [checked(each) for each in value or ()]


def unread(usage: RawUsage, known: frozenset[str], *, within: str = "unread") -> dict[str, int]:
    """Counts above zero under names that nobody reads here, so that none is passed over.

    What stands in objects that nobody reads is named with them, joined by dots.
    """
    unread_numbers: dict[str, int] = {}
    for name, value in usage.items():
        if name in known:
            continue
        if isinstance(value, Mapping):
            unread_numbers |= unread(value, frozenset(), within=f"{within}.{name}")
        elif isinstance(value, list | tuple):
            unread_numbers |= _unread_in_all(value, within=f"{within}.{name}")
        else:
            # Of other forms of a number only what is called a count is one, and no time or price.
            number = whole(value) if "token" in str(name).lower() else value
            if isinstance(number, int) and number is not True and 0 < number <= COUNT_MAX:
                unread_numbers[f"{within}.{name}"[:NAME_MAX]] = number
    return unread_numbers


def _unread_in_all(items: Iterable[object], *, within: str) -> dict[str, int]:
    """What the objects of a list add up to, by name."""
    sums: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Mapping):
            sums.update(unread(item, frozenset(), within=within))
    return dict(sums)


def details(usage: RawUsage, *names: str) -> RawUsage:
    """What the nested objects of these names say, as one; refuses what is no object.

    Relays fill several of them: a count that two give has to be one.
    """
    # PHP writes an object that holds nothing as a list that does.
    there = {name: usage[name] for name in names if usage.get(name) not in (None, [])}
    for name, value in there.items():
        if not isinstance(value, Mapping):
            raise GatewayUsageError(
                f"usage.{name}: found {shorten(value)}; send an object of counts"
            )
    keys = dict.fromkeys(key for value in there.values() for key in value)
    return {key: _said_once(key, there) for key in keys}


def _said_once(key: str, there: Mapping[str, RawUsage]) -> object:
    said = {f"{name}.{key}": whole(value[key]) for name, value in there.items() if key in value}
    given = [value for value in said.values() if value is not None]
    if len(given) > 1 and all(isinstance(value, int) for value in given):
        return agreed(key, counts_at(said, said))
    return next(iter(given), None)


def tool_calls(counted: RawUsage) -> dict[str, int]:
    """Calls of TOOLS, of which there were any."""
    counts = {ours: count(counted, theirs) for theirs, ours in TOOLS.items()}
    return {name: number for name, number in counts.items() if number}


def rest(total: int, known: tuple[int | None, ...], *, name: str) -> int:
    """What remains of a total after its known parts; refuses parts larger than the total."""
    remaining = total - sum(part for part in known if part is not None)
    if remaining < 0:
        raise GatewayUsageError(
            f"usage.{name}: found {total}, less than the parts inside it; send counts"
            " of one answer, each total with its parts in it"
        )
    return remaining


def writes(total: int | None, split: RawUsage) -> UsageBody:
    """Cache writes by lifetime where the answer splits them; what the split leaves out has none.

    A split may be of nothing beside a total, as in answers with web searches; a total of nothing
    beside a split is a field left unfilled.
    """
    five, hour = counts_at(split, LIFETIMES).values()
    if five is None and hour is None:
        return {"cache_write": total}
    parts = (five or 0, hour or 0)
    beside = rest(total or sum(parts), parts, name="cache_creation_input_tokens")
    plain: UsageBody = {"cache_write": beside} if beside else {}
    return plain | {"cache_write_5m": parts[0], "cache_write_1h": parts[1]}


def body(*, input_leaves: UsageBody, output_leaves: UsageBody, complete: bool) -> UsageBody:
    """`data.usage` with its totals, None of a side of which nothing is known; a count that is not
    final is marked as running."""
    return {
        "input": input_leaves,
        "output": output_leaves,
        "input_total": _total(input_leaves),
        "output_total": _total(output_leaves),
        "source": "provider_final" if complete else "provider_running",
        "complete": complete,
    }


def _total(leaves: UsageBody) -> int | None:
    known = [tokens for tokens in leaves.values() if tokens is not None]
    return sum(known) if known else None


def held_to_sides(modality: Mapping[str, int], read: UsageBody) -> Mapping[str, int]:
    """Tokens by kind of content as they are; refuses more of them than a side has tokens."""
    whole, cached = read["input_total"], read["input"].get("cache_read")
    tokens = {"input": whole, "cache_read": whole if cached is None else cached}
    tokens["output"] = read["output_total"]
    for side, kinds in KINDS_OF.items():
        of_kinds, of_side = sum(modality.get(kind, 0) for kind in kinds), tokens[side]
        if of_side is not None and of_kinds > of_side:
            raise GatewayUsageError(
                f"usage: found {of_kinds} tokens of {side} by kind of content, of {of_side}; send"
                " counts of one answer, each total with its parts in it"
            )
    return modality
