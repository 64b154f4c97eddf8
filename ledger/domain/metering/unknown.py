"""Counts the attributes of events that nobody reads, by name: they are dropped, and it is said.

A misspelt leaf would else be a count that is missing without a word. What they hold is not kept.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from ledger.domain.arrays import Ints
from ledger.domain.metering.items import Items
from ledger.domain.metering.parts import Part
from ledger.domain.metering.rules import DATA, KINDS, TYPE, unknown_name
from ledger.wire.errors import storable
from ledger.wire.schema import ITEM, Path

# Of one record; names may be anything, and there may be any number of them.
NAMES_MAX = 20
NAME_CHARS_MAX = 200
REST = "(others)"
Unknown = Mapping[int, Mapping[str, int]]


def count_unknown(items: Items, parts: Sequence[Part], read: Iterable[int]) -> Unknown:
    """Of each record the events that have an attribute nobody reads, by its name.

    `parts` are the events read as columns, `read` the rows of those read one by one.
    """
    unknown: dict[int, Counter[str]] = defaultdict(Counter)
    for part in parts:
        for name, there in part.unknown.items():
            rows = part.rows if there is None else part.rows[there]
            for owner, events in _by_owner(items, rows):
                unknown[owner][name] += events
    for row in read:
        for name in set(_names(items[row])):
            unknown[int(items.owners[row])][name] += 1
    return {owner: _bounded(names) for owner, names in unknown.items()}


def _by_owner(items: Items, rows: Ints) -> Iterable[tuple[int, int]]:
    owners, events = np.unique(items.owners[rows], return_counts=True)
    return zip(owners.tolist(), events.tolist(), strict=True)


def _names(line: bytes) -> Iterator[str]:
    event = msgspec.json.decode(line)
    kind = event[TYPE]
    return _within(kind, event[DATA], (DATA,)) if kind in KINDS else iter(())


def _within(kind: str, value: object, path: Path) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _within(kind, item, (*path, ITEM))
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        unknown = unknown_name(kind, (*path, name))
        if unknown is None:
            yield from _within(kind, inner, (*path, name))
        elif inner is not None:
            yield unknown


def _bounded(names: Counter[str]) -> Mapping[str, int]:
    shown = Counter[str]()
    for rank, (name, events) in enumerate(names.most_common()):
        shown[storable(name, NAME_CHARS_MAX) if rank < NAMES_MAX else REST] += events
    return shown
