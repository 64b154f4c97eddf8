"""Turns facts into attempts as an engine saw them: when they ran, what they read and wrote.

Invariant: whatever its fact says, an attempt runs for a microsecond or more, reads within that time
and writes within it; a fact and its reversal run at the same moments, and cancel each other out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.cost.attempt_rows import ATTEMPT, reached_windows
from ledger.domain.metering.spread import INPUT_METERS, WINDOW_US
from ledger.domain.period import HOUR, MICROSECOND

SECOND_US = 1_000_000
# Records of more than this are sums of days rather than attempts: when in them anything ran, nobody
# knows.
LONGEST = HOUR
# No longer than an attempt may be.
_WAIT_MAX_MS = 32 * 86_400 * 1_000
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


def attempts_of(facts: pl.DataFrame) -> pl.DataFrame:
    """The attempts of facts as they are stored, whose counts carry their sign.

    An attempt begins after it waited in a queue. Nobody knows when one without a start began: it
    ran in its own second. A first token outside of it is none: it reads and writes all the time.
    """
    col, counts = pl.col, (*INPUT_METERS, "visible", "reasoning")
    known = col("started_at").is_not_null()
    first, second = col("first_token_at"), col("end") // SECOND_US * SECOND_US
    waited = col("queue_ms").fill_null(0).clip(0, _WAIT_MAX_MS) * 1_000
    said = facts.with_columns(
        *(col(name).abs() for name in counts),
        requests=col("requests").abs(),
        sign=col("requests").sign(),
        end=pl.when(known).then(pl.coalesce("ended_at", "time")).otherwise("time"),
    )
    begun = said.with_columns(
        seen=(known & first.is_between("started_at", "end")).fill_null(value=False)
    ).with_columns(
        start=pl.min_horizontal(
            pl.coalesce(col("started_at") + waited, "time"),
            pl.when("seen").then(first).otherwise("end"),
        )
    )
    brief = col("start") >= col("end")
    ran = begun.with_columns(
        seen=col("seen") & ~brief,
        start=pl.when(brief).then(second).otherwise("start"),
        end=pl.when(brief).then(second + SECOND_US).otherwise("end"),
    )
    output, asked = col("visible") + col("reasoning"), pl.sum_horizontal(INPUT_METERS)
    return ran.with_columns(
        read=pl.when("seen").then(pl.max_horizontal(first, col("start") + 1)).otherwise("end"),
        wrote=pl.when("seen").then(pl.min_horizontal(first, col("end") - 1)).otherwise("start"),
        output=output,
        context=(asked + output // 2) // col("requests").clip(lower_bound=1),
    ).select(*ATTEMPT)


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
    """The attempts that run in each window in the order of the ranks of their usage keys, by its
    start in microseconds; `owner` numbers of which of `owners` each of them is."""
    numbers, windows = reached_windows(rows)
    begin = int(windows.min()) if windows.size else 0
    cells = (windows - begin) * len(owners) + owner[numbers]
    order = _order(cells, ranks[numbers])
    ordered = cells[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    by_start: dict[int, dict[EngineOwner, Ints]] = defaultdict(dict)
    for cell, part in zip(
        ordered[begins].tolist(), np.split(numbers[order], begins[1:]), strict=False
    ):
        window, number = divmod(cell, len(owners))
        by_start[(begin + window) * WINDOW_US][owners[number]] = part
    return {start: WindowAttempts(rows, of_window) for start, of_window in by_start.items()}


def _order(cells: Ints, ranks: Ints) -> Ints:
    """Rows by cell and rank."""
    cell_bits, rank_bits, row_bits = (
        int(most).bit_length() for most in (cells.max(initial=0), ranks.max(initial=0), cells.size)
    )
    if cell_bits + rank_bits + row_bits > _WORD_BITS:
        return np.lexsort((ranks, cells))
    # As numbers alone, with their rows in the lowest bits, they are sorted soonest.
    packed = ((cells << rank_bits) + ranks << row_bits) + np.arange(cells.size)
    packed.sort()
    return packed & ((1 << row_bits) - 1)
