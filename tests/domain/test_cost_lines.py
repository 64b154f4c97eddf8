"""Revisions of allocations and sums of days follow whatever is computed, in whatever order."""

from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.cost.cost_day import DAY_LINE, add_lines, sum_days
from ledger.domain.cost.cost_line import ALLOCATION, KINDS, Allocations, next_allocations
from ledger.domain.cost.line_runs import LINE, LineRuns
from ledger.domain.period import Period
from tests.support.examples import at_depth
from tests.support.one_gpu import QUARTER, START

# Two windows of one day and two of the next, of which the first is over from some step on.
WINDOWS = [START + n * QUARTER for n in range(4)]
DAYS = [Period(START, START + 2 * QUARTER), Period(START + 2 * QUARTER, START + 4 * QUARTER)]
# (window, usage key, 0 of idle) to mJ and 1e-12 of the currency.
Lines: TypeAlias = Mapping[tuple[int, int], tuple[int, int]]

lines_of_windows = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.integers(0, 2), st.integers(-(10**30), 10**30)),
    max_size=8,
)
steps = st.lists(
    st.tuples(st.sets(st.integers(0, 3), min_size=1), lines_of_windows, st.integers(0, 2)),
    min_size=1,
    max_size=6,
)


def runs(lines: Lines) -> LineRuns:
    """Lines by run; busy for as long as their window says."""
    rows = [
        (
            *("deployment:chat", WINDOWS[window], "usage" if key else "idle", key),
            *("EUR", 1, 1, 0, 1, 5, "owned", 60 * window),
            *(mj, 0, 0, 0, cost, 0, 0),
        )
        for (window, key), (mj, cost) in lines.items()
    ]
    return LineRuns.of_frame(pl.DataFrame(rows, LINE, orient="row"))


def kinds(lines: Lines) -> pl.DataFrame:
    """What all usage of a window took, as if it had all been answers."""
    usage: dict[int, tuple[int, int]] = {}
    for (window, key), (mj, cost) in lines.items():
        if key:
            before = usage.get(window, (0, 0))
            usage[window] = (before[0] + mj, before[1] + cost)
    # Nobody counted any.
    steps = (0, 0)
    rows = [
        ("deployment:chat", WINDOWS[window], "usage", *[0] * 7, mj, 0, 0, 0, cost, *steps)
        for window, (mj, cost) in usage.items()
    ]
    return pl.DataFrame(rows, KINDS, orient="row")


def told(lines: pl.DataFrame) -> dict[tuple[int, int], tuple[int, int]]:
    """Lines again as they were said."""
    columns = ("window_start", "usage_key_id", "device_metered_mj", "device_cost")
    return {
        (WINDOWS.index(window), key): (mj, cost)
        for window, key, mj, cost in lines.select(columns).iter_rows()
    }


class Standing:
    """What is stored: allocations as they stand with their revisions, and sums of days."""

    def __init__(self) -> None:
        self.rows = pl.DataFrame(schema=ALLOCATION)
        self.lines = pl.DataFrame(schema=LINE)
        self.summed: Counter[tuple[object, ...]] = Counter()
        self.begun: set[Period] = set()

    def compute(self, windows: set[int], lines: Lines, over: int) -> int:
        """Compute some windows anew, after so many days are over; how many rows are appended."""
        starts = [WINDOWS[n] for n in windows]
        of_windows = pl.col("window_start").is_in(starts)
        lines_of = LineRuns.of_frame(self.lines.filter(of_windows))
        stored = Allocations(self.rows.filter(of_windows), lines_of)
        changes, former = next_allocations(stored, runs(lines), kinds(lines))
        ended = [day for day in DAYS[:over] if day not in self.begun]
        self._sum(changes, former, ended)
        key = ["scope", "window_start", "line"]
        self.rows = pl.concat([self.rows.join(changes.rows, on=key, how="anti"), changes.rows])
        kept = self.lines.join(changes.rows, on=key, how="anti")
        self.lines = pl.concat([kept, changes.lines.frame()])
        return len(changes.rows)

    def _sum(self, changes: Allocations, former: Allocations, ended: list[Period]) -> None:
        told_days = [*self.begun, *ended]
        starts = {w: day.start for w in WINDOWS for day in told_days if w in day}
        standing = sum_days(
            come=LineRuns.of_frame(self.lines),
            gone=runs({}),
            standing=pl.DataFrame(schema=DAY_LINE),
            days={w: day.start for w in WINDOWS for day in ended if w in day},
            over=ended,
        )
        sums = sum_days(
            come=changes.lines,
            gone=former.lines,
            standing=standing.lines,
            days=starts,
            over=ended,
        )
        for day, *_, key, _, _, busy, mj, _, _, _, cost, _, _ in sums.lines.iter_rows():
            self.summed.update({(day, key, "busy"): busy, (day, key, "mj"): mj})
            self.summed.update({(day, key, "cost"): cost})
        self.begun |= set(sums.begun)


@settings(max_examples=at_depth(30))  # each is many joins of frames
@given(steps)
@pytest.mark.timeout(180)
def test_what_stands_is_what_was_computed_last(
    said: list[tuple[set[int], Lines, int]],
) -> None:
    standing, expected = Standing(), dict[tuple[int, int], tuple[int, int]]()
    days_over = 0
    for windows, lines, over in said:
        mine = {key: line for key, line in lines.items() if key[0] in windows}
        days_over = max(days_over, over)
        expected = {key: line for key, line in expected.items() if key[0] not in windows} | mine
        standing.compute(windows, mine, days_over)
        assert told(standing.lines) == expected
        sums: Counter[tuple[object, ...]] = Counter()
        for day in standing.begun:
            for (window, key), (mj, cost) in expected.items():
                if WINDOWS[window] in day:
                    sums.update({(day.start, key, "busy"): 60 * window})
                    sums.update({(day.start, key, "mj"): mj, (day.start, key, "cost"): cost})
        assert {k: v for k, v in standing.summed.items() if v} == {
            k: v for k, v in sums.items() if v
        }
        with_lines = {day for day in DAYS[:days_over] for w, _ in expected if WINDOWS[w] in day}
        assert with_lines <= standing.begun
        assert standing.compute(windows, mine, days_over) == 0


def test_a_revision_follows_the_one_before_and_what_ceased_has_no_lines() -> None:
    standing = Standing()
    standing.compute({0}, {(0, 0): (5, 7), (0, 1): (1, 1)}, 0)
    standing.compute({0}, {(0, 1): (1, 1)}, 0)
    rows = standing.rows.sort("line").select("line", "revision", "busy_s").rows()
    assert rows == [("idle", 2, 0), ("usage", 1, 0)]
    standing.compute({0}, {(0, 0): (5, 7), (0, 1): (1, 2)}, 0)
    assert standing.rows.sort("line")["revision"].to_list() == [3, 2]


def test_keys_are_hashes_also_where_no_day_is_over() -> None:
    lines = runs({(0, -(2**62)): (1, 0), (0, 2**62): (1, 0)})
    said = pl.DataFrame(schema=DAY_LINE)
    sums = sum_days(come=lines, gone=runs({}), standing=said, days={}, over=[])
    assert sums.lines.is_empty()


def test_a_day_beyond_64_bits_is_refused() -> None:
    lines = runs({(0, 1): (2**63 - 1, 0), (1, 1): (2**63 - 1, 0)})
    with pytest.raises(pl.exceptions.InvalidOperationError, match="device_metered_mj"):
        sum_days(
            come=lines,
            gone=runs({}),
            standing=pl.DataFrame(schema=DAY_LINE),
            days=dict.fromkeys(WINDOWS[:2], DAYS[0].start),
            over=DAYS[:1],
        )


@given(st.lists(st.integers(-3, 40), min_size=1, max_size=30))
def test_lines_are_added_to_the_rows_of_their_keys_in_any_order(keys: list[int]) -> None:
    known, one = np.unique(keys), np.arange(len(keys)) + 1
    table = np.zeros((known.size, 3), np.int64)
    add_lines(table, known, np.array(keys), 7, (one,))
    for key, (count, busy_s, summed) in zip(known, table.tolist(), strict=True):
        places = [n for n, each in enumerate(keys) if each == key]
        assert (count, busy_s) == (len(places), 7 * len(places))
        assert summed == sum(n + 1 for n in places)
