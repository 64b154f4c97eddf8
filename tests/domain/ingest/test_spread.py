"""Spreading on columns is the scalar rule, attempt by attempt."""

from datetime import datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ledger.domain.apportion import cumulative_split
from ledger.domain.metering.rows import moment
from ledger.domain.metering.spread import (
    WINDOW_US,
    activity_windows,
    busy_masks,
    condensed,
    moved,
    usage_windows,
)
from tests.support.busy import mask_of

BASE = 1_785_997_800_000_000
TIMES = st.integers(BASE - 5 * WINDOW_US, BASE + 5 * WINDOW_US) | st.sampled_from(
    [BASE, BASE - 1, BASE + 1, BASE + WINDOW_US]
)
COUNTS = st.integers(0, 50) | st.just(10**16)


@st.composite
def attempts(draw: st.DrawFn) -> dict[str, int | None]:
    started, first, ended = sorted(draw(st.lists(TIMES, min_size=3, max_size=3)))
    return {
        "usage_key_id": draw(st.integers(1, 2)),
        "engine_key_id": draw(st.integers(1, 2)),
        "sign": draw(st.sampled_from([1, 1, -1])),
        "time": ended,
        "started_at": draw(st.sampled_from([started, None])),
        "first_token_at": draw(st.sampled_from([first, None])),
        "ended_at": draw(st.sampled_from([ended, None])),
        "requests": draw(st.integers(1, 3)),
        **{name: draw(COUNTS) for name in ("uncached", "cache_read", "cache_write")},
        **{name: draw(COUNTS) for name in ("visible", "reasoning")},
    }


def frame(rows: list[dict[str, int | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.Int64))


def scalar(one: dict[str, int | None]) -> dict[tuple[int, str], int]:
    """Window and meter to tokens, by the rule for one attempt."""
    end = one["time"] or 0
    start = end if one["started_at"] is None else one["started_at"]
    middle = one["first_token_at"] if one["started_at"] is not None else None
    legs = {
        "uncached": (start, middle or end),
        "cache_read": (start, middle or end),
        "cache_write": (start, middle or end),
        "output": (middle or start, end),
    }
    totals = {**one, "output": (one["visible"] or 0) + (one["reasoning"] or 0)}
    found: dict[tuple[int, str], int] = {}
    first = start // WINDOW_US
    edges = [n * WINDOW_US for n in range(first, end // WINDOW_US + 2)]
    for name, (since, until) in legs.items():
        parts = cumulative_split(totals[name] or 0, start=since, end=until, edges=edges)
        for n, part in enumerate(parts):
            found[first + n, name] = part * (one["sign"] or 0)
    return found


@given(st.lists(attempts(), min_size=1, max_size=6))
def test_work_is_spread_by_the_rule_for_one_attempt(rows: list[dict[str, int | None]]) -> None:
    wanted: dict[tuple[object, ...], int] = {}
    for one in rows:
        for (window, name), part in scalar(one).items():
            place = (one["engine_key_id"], window * WINDOW_US, one["usage_key_id"], name)
            wanted[place] = wanted.get(place, 0) + part
    found: dict[tuple[object, ...], int] = {}
    for row in activity_windows(frame(rows)).iter_rows(named=True):
        for name in ("uncached", "cache_read", "cache_write", "output"):
            place = (row["engine_key_id"], row["window_start"], row["usage_key_id"], name)
            found[place] = row[name]
    assert {p: n for p, n in found.items() if n} == {p: n for p, n in wanted.items() if n}


@given(st.lists(attempts(), min_size=1, max_size=6))
def test_masks_are_those_of_each_attempt_merged(rows: list[dict[str, int | None]]) -> None:
    wanted: dict[tuple[int, datetime], int] = {}
    for one in rows:
        end = moment(one["time"] or 0)
        start = end if one["started_at"] is None else moment(one["started_at"])
        at = moment((one["started_at"] or one["time"] or 0) // WINDOW_US * WINDOW_US)
        while at <= end:
            place = (one["engine_key_id"] or 0, at)
            wanted[place] = wanted.get(place, 0) | mask_of(start, end, at)
            at += timedelta(minutes=15)
    masks = busy_masks(frame(rows))
    places = zip(masks.engine_key_ids.tolist(), map(moment, masks.windows.tolist()), strict=True)
    bits = [sum(1 << n for n, busy in enumerate(row) if busy) for row in masks.seconds]
    found = dict(zip(places, bits, strict=True))
    assert found == {place: mask for place, mask in wanted.items() if mask}


@given(st.lists(attempts(), min_size=1, max_size=6))
def test_usage_is_billed_in_the_window_in_which_it_ended(
    rows: list[dict[str, int | None]],
) -> None:
    wanted: dict[tuple[int, int], int] = {}
    for one in rows:
        place = (one["usage_key_id"] or 0, (one["time"] or 0) // WINDOW_US * WINDOW_US)
        tokens = (one["uncached"] or 0) * (one["sign"] or 0)
        wanted[place] = wanted.get(place, 0) + tokens
    summed = usage_windows(frame(rows))
    found = {
        (row["usage_key_id"], row["window_start"]): row["uncached"]
        for row in summed.iter_rows(named=True)
    }
    assert {p: n for p, n in found.items() if n} == {p: n for p, n in wanted.items() if n}


def test_spreading_in_slices_loses_nothing() -> None:
    one = {
        **{"usage_key_id": 1, "engine_key_id": 1, "sign": 1, "time": BASE},
        **{"started_at": BASE - 2_000 * WINDOW_US, "first_token_at": None, "ended_at": BASE},
        **{"requests": 1, "uncached": 7_777, "cache_read": 0, "cache_write": 0},
        **{"visible": 0, "reasoning": 9_999},
    }
    # A thousand attempts of two thousand windows each: more rows than one slice holds.
    whole = activity_windows(frame([one] * 1_000))
    assert whole["uncached"].sum() == 7_777_000
    assert whole["output"].sum() == 9_999_000
    assert whole.height == 2_000


@given(st.lists(attempts(), min_size=1, max_size=6), st.integers(1, 4))
def test_what_is_condensed_moves_the_same_windows(
    rows: list[dict[str, int | None]], times: int
) -> None:
    facts = frame(rows * times).with_columns(
        # A cell has both keys and the window of `time` in common.
        pl.struct("usage_key_id", "engine_key_id", pl.col("time") // WINDOW_US)
        .rank("dense")
        .cast(pl.Int64)
        .alias("cell"),
        pl.col("usage_key_id").cast(pl.String).alias("customer_id"),
    )
    fewer = condensed(facts)
    assert fewer.height <= facts.height
    for windows in (usage_windows, activity_windows):
        assert_frame_equal(windows(fewer), windows(facts))


@given(st.lists(attempts(), min_size=1, max_size=6))
def test_what_moves_says_usage_and_activity_in_a_row_where_one_window_has_all(
    rows: list[dict[str, int | None]],
) -> None:
    facts = frame(rows).with_columns(pl.col("usage_key_id").cast(pl.String).alias("customer_id"))
    usage, activity = moved(facts)
    meters = ("uncached", "cache_read", "cache_write", "visible", "reasoning")
    summed = usage.group_by("usage_key_id", "window_start", "customer_id").agg(
        pl.sum("requests", *meters)
    )
    wanted = usage_windows(facts, ["customer_id"])
    assert_frame_equal(_known(summed, ("requests", *meters)), wanted, **ALIKE)
    here = usage.filter(pl.col("engine_key_id").is_not_null())
    output = (pl.col("visible") + pl.col("reasoning")).alias("output")
    worked = pl.concat([here.with_columns(output).select(activity.columns), activity])
    work = ("uncached", "cache_read", "cache_write", "output")
    added = worked.group_by("engine_key_id", "window_start", "usage_key_id").agg(pl.sum(*work))
    assert_frame_equal(_known(added, work), activity_windows(facts), **ALIKE)


ALIKE: dict[str, bool] = {"check_row_order": False, "check_column_order": False}


def _known(windows: pl.DataFrame, counts: tuple[str, ...]) -> pl.DataFrame:
    """Windows that hold anything."""
    return windows.filter(pl.any_horizontal(pl.col(name) != 0 for name in counts))


def test_a_thousand_attempts_inside_one_window_are_condensed_to_one() -> None:
    one: dict[str, int | None] = {
        **{"cell": 7, "usage_key_id": 1, "engine_key_id": 2, "sign": 1, "time": BASE + 9},
        **{"started_at": BASE + 1, "first_token_at": BASE + 2, "ended_at": BASE + 9},
        **{"requests": 1, "uncached": 10**15, "cache_read": 0, "cache_write": 0},
        **{"visible": 3, "reasoning": 4},
    }
    customer = pl.lit("acme").alias("customer_id")
    (row,) = condensed(frame([one] * 1_000).with_columns(customer)).to_dicts()
    assert (row["requests"], row["uncached"], row["visible"]) == (1_000, 10**18, 3_000)
    assert condensed(frame([one]).clear().with_columns(customer)).height == 0
