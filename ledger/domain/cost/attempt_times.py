"""Turns facts into attempts as an engine saw them: when they ran, what they read and wrote.

Invariant: whatever its fact says, an attempt runs for a microsecond or more, reads within that time
and writes within it; a fact and its reversal run at the same moments, and cancel each other out.
"""

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled
from ledger.domain.cost.attempt_rows import ATTEMPT, PART_ROWS
from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.frames import filled
from ledger.domain.metering.spread import INPUT_METERS

# Columns of facts, in microseconds and milliseconds; what nobody knows is NEVER.
_FACT = (
    *("engine_key_id", "usage_key_id", "time", "started_at", "first_token_at", "ended_at"),
    *("queue_ms", "requests", "visible", "reasoning", *INPUT_METERS),
)
_ENGINE, _KEY, _TIME, _STARTED, _FIRST, _ENDED, _QUEUE, _REQUESTS, _VISIBLE, _REASONING = range(10)
_INPUT, _INPUTS = 10, len(INPUT_METERS)
_NEVER = -(2**63)
# No longer than an attempt may be.
_WAIT_MAX_MS = 32 * 86_400 * 1_000


def attempts_of(facts: pl.DataFrame) -> Ints:
    """The attempts of facts as they are stored, whose counts carry their sign, as rows of ATTEMPT.

    An attempt begins after it waited in a queue. Nobody knows when one without a start began: it
    ran in its own second. A first token outside of it is none: it reads and writes all the time.
    """
    rows = np.empty((facts.height, len(ATTEMPT)), np.int64)
    fill_attempts(facts, rows)
    return rows


def fill_attempts(facts: pl.DataFrame, rows: Ints) -> None:
    """Fill in the attempts of facts, a row each."""
    begin = 0
    for part in facts.iter_slices(PART_ROWS):
        columns = np.empty((len(_FACT), part.height), np.int64)
        for column, name in zip(columns, _FACT, strict=True):
            column[:] = filled(part[name], _NEVER)
        _fill(columns, rows[begin : begin + part.height])
        begin += part.height


@compiled
def _fill(facts: Ints, rows: Ints) -> None:
    """Fill in the row of each fact."""
    for n in range(rows.shape[0]):
        asked, requests = np.int64(0), facts[_REQUESTS, n]
        output = abs(facts[_VISIBLE, n]) + abs(facts[_REASONING, n])
        rows[n, 0], rows[n, 1] = facts[_ENGINE, n], facts[_KEY, n]
        rows[n, 2], rows[n, 3], rows[n, 4], rows[n, 5] = _times(
            facts[_TIME, n],
            facts[_STARTED, n],
            facts[_FIRST, n],
            facts[_ENDED, n],
            facts[_QUEUE, n],
        )
        rows[n, 6] = np.sign(requests)
        for meter in range(_INPUTS):
            count = abs(facts[_INPUT + meter, n])
            rows[n, 7 + meter] = count
            asked += count
        rows[n, 7 + _INPUTS] = output
        rows[n, 8 + _INPUTS] = (asked + output // 2) // max(abs(requests), 1)


@compiled
def _times(time: int, started: int, first: int, ended: int, queue_ms: int) -> tuple[int, ...]:
    """When it starts, has read, begins to write, and ends."""
    known = started != _NEVER
    end = ended if known and ended != _NEVER else time
    seen = known and started <= first <= end
    waited_us = min(max(queue_ms, 0), _WAIT_MAX_MS) * 1_000
    start = min(started + waited_us if known else time, first if seen else end)
    if start >= end:
        start, seen = end // SECOND_US * SECOND_US, False
        end = start + SECOND_US
    if seen:
        return start, max(first, start + 1), min(first, end - 1), end
    return start, end, start, end
