"""Turns what a stage computed now, beside what it stored before, into the rows to append.

Invariant: equal results append nothing, so that a stage run twice changes nothing.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def next_revisions(
    stored: Mapping[K, tuple[int, V]],
    computed: Mapping[K, V],
    *,
    nothing: Callable[[V], V],
) -> list[tuple[K, int, V]]:
    """(key, revision, value) of every key whose value changed, computed keys first, in their order.

    A stored key that was not computed again gets `nothing` of its value, once.
    """
    changed = [
        (key, _after(stored, key), value)
        for key, value in computed.items()
        if key not in stored or stored[key][1] != value
    ]
    ceased = [
        (key, revision + 1, nothing(value))
        for key, (revision, value) in stored.items()
        if key not in computed and value != nothing(value)
    ]
    return changed + ceased


def _after(stored: Mapping[K, tuple[int, V]], key: K) -> int:
    return stored[key][0] + 1 if key in stored else 1
