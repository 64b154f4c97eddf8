"""What is said of summed usage that is not what a final count says; unknown is None, never 0."""

from collections.abc import Mapping

from ledger.domain.metering.fact import MARKS

# Which counts a request did not say, and the mark of the whole side that it may have lacked.
UNSAID = {
    "input_unknown": (("uncached", "cache_read", "cache_write", "input_tokens"), ()),
    "output_unknown": (("visible", "reasoning", "output_tokens"), ()),
    "cached_unknown": (("cache_read",), ("input_unknown",)),
    "written_unknown": (("cache_write",), ("input_unknown",)),
    "reasoning_unknown": (("reasoning",), ("output_unknown",)),
}
_LEAVES = ("uncached", "cache_read", "cache_write", "visible", "reasoning")


def known_counts(counts: Mapping[str, int]) -> dict[str, int | None]:
    """Sums with None where no request said the count; `counts` has requests, and meters with the
    marks of what was not said of them."""
    known: dict[str, int | None] = dict(counts)
    for mark, (names, sides) in UNSAID.items():
        lacking = sum(counts.get(each, 0) for each in (mark, *sides))
        if counts.get(mark) and lacking >= counts["requests"]:
            known |= {name: None for name in names if counts.get(name) == 0}
    return known


def known_leaves(counts: Mapping[str, int], flags: int) -> dict[str, int | None]:
    """A fact's five counts with None for what its event did not say."""
    unsaid = {name for mark, (names, _) in UNSAID.items() if flags & MARKS[mark] for name in names}
    return {name: counts[name] or (None if name in unsaid else 0) for name in _LEAVES}


def describe_marks(counts: Mapping[str, int]) -> str:
    """How many requests are marked, in words; nothing where none is."""
    said = [f"{counts[mark]:,} {_WORDS[mark]}" for mark in MARKS if counts[mark]]
    return f"of {counts['requests']:,} requests {', '.join(said)}" if said else ""


_WORDS = {
    "estimated": "estimated",
    "incomplete": "incomplete",
    "input_unknown": "of unknown input",
    "output_unknown": "of unknown output",
    "cached_unknown": "of unknown cache reads",
    "written_unknown": "of unknown cache writes",
    "reasoning_unknown": "of unknown reasoning",
}
