"""What is said of summed usage that is not what a final count says; unknown is None, never 0."""

from collections.abc import Mapping

from ledger.domain.metering.fact import MARKS, Flag

INPUT = ("uncached", "cache_read", "cache_write", "input_tokens")
OUTPUT = ("visible", "reasoning", "output_tokens")


def known_counts(counts: Mapping[str, int]) -> dict[str, int | None]:
    """Sums with None where no request said the count; `counts` has requests, meters and MARKS."""
    found: dict[str, int | None] = dict(counts)
    for mark, names in (("input_unknown", INPUT), ("output_unknown", OUTPUT)):
        if counts[mark] and counts[mark] >= counts["requests"]:
            found |= {name: None for name in names if counts.get(name) == 0}
    return found


def known_leaves(counts: Mapping[str, int], flags: int) -> dict[str, int | None]:
    """A fact's five counts with None for what its event did not say.

    Beside a main leaf that may hide tokens of others, a zero is no known one.
    """
    found: dict[str, int | None] = {name: counts[name] for name in _LEAVES}
    for mark, (main, *beside) in _SIDES.items():
        hidden = flags & Flag.SPLIT_UNKNOWN and counts[main]
        unsaid = [main, *beside] if flags & mark else beside if hidden else []
        found |= {name: None for name in unsaid if counts[name] == 0}
    return found


_SIDES = {
    Flag.INPUT_UNKNOWN: ("uncached", "cache_read", "cache_write"),
    Flag.OUTPUT_UNKNOWN: ("visible", "reasoning"),
}
_LEAVES = tuple(name for names in _SIDES.values() for name in names)


def describe_marks(counts: Mapping[str, int]) -> str:
    """How many requests are marked, in words; nothing where none is."""
    said = [f"{counts[mark]:,} {_WORDS[mark]}" for mark in MARKS if counts[mark]]
    return f"of {counts['requests']:,} requests {', '.join(said)}" if said else ""


_WORDS = {
    "estimated": "estimated",
    "incomplete": "incomplete",
    "input_unknown": "of unknown input",
    "output_unknown": "of unknown output",
}
