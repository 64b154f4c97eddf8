"""Finds the attempts of each window: of facts near it, and of attempts those that run in it.

Invariant: an attempt is in every window in which it runs, once, and in no other.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.cost.attempt_rows import ATTEMPT, Bits, cut_cells, packed_cells, windows_run
from ledger.domain.digit_order import in_order
from ledger.domain.metering.spread import WINDOW_US
from ledger.domain.period import HOUR, MICROSECOND

SECOND_US = 1_000_000
# Records of more than this are sums of days rather than attempts: when in them anything ran, nobody
# knows.
LONGEST = HOUR
_WORD_BITS = 63
NO_ATTEMPTS = pl.DataFrame(schema=ATTEMPT)


class EngineOwner(NamedTuple):
    """The engine key at which an attempt ran, and the entity of its customer."""

    engine_key_id: int
    entity_id: str | None


def _no_rows() -> Ints:
    return np.zeros((0, len(ATTEMPT)), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class WindowAttempts:
    """The attempts of a window by their numbers among many rows, by engine key and owner."""

    rows: Ints = field(default_factory=_no_rows)
    numbers: Mapping[EngineOwner, Ints] = field(default_factory=dict)


def timed(facts: pl.DataFrame, since: int, until: int) -> pl.DataFrame:
    """Facts that run or end in [since, until), microseconds, and that lie within LONGEST of time.

    Whether one is too long for its own times to be gone by is the same for every window, so that a
    window allocated alone, or among others, comes to the same.
    """
    first = pl.min_horizontal("time", "started_at")
    last = pl.max_horizontal("time", "ended_at")
    length = LONGEST // MICROSECOND
    near = facts.select((first < until) & (last >= since) & (last - first <= length)).to_series()
    return facts if near.all() else facts.filter(near)


def by_window(
    rows: Ints, ranks: Ints, owner: Ints, owners: Sequence[EngineOwner]
) -> dict[int, WindowAttempts]:
    """The attempts that run in each window in the order of the ranks of their usage keys, none of
    them below zero, by its start in microseconds; `owner` numbers of which of `owners` each is."""
    first, last, count = windows_run(rows)
    cells = (last - first + 1) * len(owners)
    bits = Bits(int(ranks.max(initial=0)).bit_length(), len(rows).bit_length())
    if cells.bit_length() + sum(bits) <= _WORD_BITS:
        packed = packed_cells(rows, owner, len(owners), ranks, first, count, bits)
        packed = in_order(packed, bits.row)
    else:
        bits, unranked = Bits(0, bits.row), np.zeros_like(ranks)
        packed = packed_cells(rows, owner, len(owners), unranked, first, count, bits)
        numbers = packed & ((1 << bits.row) - 1)
        packed = packed[np.lexsort((ranks[numbers], packed >> bits.row))]
    numbers, begins, there = cut_cells(packed, bits)
    by_start: dict[int, dict[EngineOwner, Ints]] = defaultdict(dict)
    for cell, part in zip(there.tolist(), np.split(numbers, begins[1:]), strict=False):
        window, number = divmod(cell, len(owners))
        by_start[(first + window) * WINDOW_US][owners[number]] = part
    return {start: WindowAttempts(rows, of_window) for start, of_window in by_start.items()}
