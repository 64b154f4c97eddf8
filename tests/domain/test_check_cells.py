"""A check adds up as plain counting does, and the same in 64 and in 128 bits."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ledger.domain.apportion import cumulative_split
from ledger.domain.metering.check.cells import sum_by_cell
from ledger.domain.metering.check.spread import WORK, worked_windows
from ledger.domain.metering.check.windows import FACT_COLUMNS, FactPart
from ledger.domain.metering.fact import Kind

KEY = st.sampled_from([-(2**63), -1, 0, 1, 2**62, 2**63 - 1])
COUNT = st.integers(-(2**40), 2**40)
NOON_US = 1_785_000_000_000_000
HOUR_US = 3_600_000_000
QUARTER_US = HOUR_US // 4
MOMENT = st.integers(NOON_US, NOON_US + HOUR_US)
METERS = ("uncached", "cache_read", "cache_write", "visible", "reasoning")


@given(st.lists(st.tuples(KEY, KEY, KEY, COUNT, COUNT)), st.integers(0, 10))
def test_cells_are_summed_as_one_by_one(
    rows: list[tuple[int, int, int, int, int]], first: int
) -> None:
    counted: Counter[tuple[int, ...]] = Counter()
    for *key, one, other in rows:
        counted[(*key, 0)] += one
        counted[(*key, 1)] += other
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    halves = (columns[:, :first], columns[:, first:])
    keys, sums = sum_by_cell([(tuple(one[:3]), tuple(one[3:])) for one in halves], 3, 2)
    cells = list(zip(*keys.tolist(), strict=True))
    assert len(set(cells)) == len(cells) == len(counted) // 2
    summed = {
        (*cell, which): total
        for which, totals in enumerate(sums.tolist())
        for cell, total in zip(cells, totals, strict=True)
    }
    assert summed == dict(counted)


@st.composite
def facts(draw: st.DrawFn) -> dict[str, int | None]:
    """A fact of any times, or its reversal."""
    kind = draw(st.sampled_from([Kind.ORIGINAL, Kind.REVERSAL]))
    sign = -1 if kind is Kind.REVERSAL else 1
    known = st.none() | MOMENT
    return {
        "usage_key_id": draw(st.integers(1, 2)),
        "engine_key_id": draw(st.integers(1, 2)),
        "kind": int(kind),
        "flags": draw(st.sampled_from([0, 2, 8])),
        "time": draw(MOMENT),
        **{name: draw(known) for name in ("started_at", "first_token_at", "ended_at")},
        "requests": sign,
        **{name: sign * draw(st.integers(0, 5_000)) for name in METERS},
    }


@given(st.lists(facts(), max_size=20))
def test_work_is_spread_as_each_attempt_alone(given: list[dict[str, Any]]) -> None:
    counted: Counter[tuple[Any, ...]] = Counter()
    for one in given:
        for window, name, part in _worked_on(one):
            counted[(one["engine_key_id"], one["usage_key_id"], window, name)] += part
    spread = worked_windows(pl.DataFrame(given, schema=dict.fromkeys(FACT_COLUMNS, pl.Int64)))
    found = {
        (row["engine_key_id"], row["usage_key_id"], row["window_start"], name): row[name]
        for row in spread.to_dicts()
        for name in WORK
        if row[name]
    }
    assert found == {cell: part for cell, part in counted.items() if part}


def _worked_on(one: dict[str, Any]) -> Iterator[tuple[int, str, int]]:
    """Windows of an attempt, and what it did there, by the rule for a single one."""
    sign = one["requests"]
    start = end = one["time"]
    read, wrote = end, start
    if one["started_at"] is not None:
        end = end if one["ended_at"] is None else one["ended_at"]
        start = min(one["started_at"], end)
        read, wrote, first = end, start, one["first_token_at"]
        if first is not None and start <= first <= end:
            read = wrote = first
    output = one["visible"] + one["reasoning"]
    legs = [(name, one[name], start, read) for name in METERS[:3]]
    edges = [(NOON_US // QUARTER_US + n) * QUARTER_US for n in range(8)]
    for name, count, since, until in (*legs, ("output", output, wrote, end)):
        parts = cumulative_split(sign * count, start=since, end=until, edges=edges)
        for edge, part in zip(edges, parts, strict=False):
            yield edge, name, sign * part


@given(st.lists(facts(), min_size=1, max_size=20))
def test_sums_are_the_same_however_wide_the_numbers_are(given: list[dict[str, int | None]]) -> None:
    schema = dict.fromkeys(given[0], pl.Int64)
    # Of keys of its own, and too large for 64 bits.
    apart = dict(given[0]) | {"usage_key_id": 3, **dict.fromkeys(METERS, 2**62)}
    narrow, wide = (pl.DataFrame(rows, schema=schema) for rows in (given, [*given, apart]))
    mine = pl.col("usage_key_id") < 3
    order = ["usage_key_id", "engine_key_id", "window_start"]
    for summed in (worked_windows, lambda rows: FactPart.of_rows(rows).grouped):
        assert_frame_equal(
            summed(narrow).sort(order), summed(wide).filter(mine).sort(order), check_dtypes=False
        )
    assert set(WORK) < {*worked_windows(narrow).columns}
