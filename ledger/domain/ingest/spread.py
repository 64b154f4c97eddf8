"""Turns attempts into window rows: tokens where they were billed, where they were worked on, and
the seconds in which work ran.

Invariant: what is spread adds up to what came in, for any cut (`apportion.cumulative_split` is the
rule for one attempt), and masks of the same attempts are the same in any order (`busy.mask_of`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ledger.domain.ingest.numbering import first_rows_of
from ledger.domain.ingest.octets import Bools, Ints
from ledger.domain.period import WINDOW_SECONDS

_SECOND_US = 1_000_000
WINDOW_US = WINDOW_SECONDS * _SECOND_US
METERS = ("uncached", "cache_read", "cache_write", "visible", "reasoning")
INPUT_METERS = ("uncached", "cache_read", "cache_write")
WORK = (*INPUT_METERS, "output")
_COUNTS = ("requests", *METERS)
_TIMES = ("time", "started_at", "first_token_at", "ended_at")
# What a window's sums are made of.
MOVES = ("usage_key_id", "engine_key_id", "customer_id", *_TIMES, *_COUNTS, "sign")
# A few attempts over many windows are spread in slices, so that memory stays flat.
SLICE_ROWS = 100_000


def window_of() -> pl.Expr:
    """The window of `time` as microseconds of its start."""
    return _window("time") * WINDOW_US


def usage_windows(frame: pl.DataFrame, following: Sequence[str] = ()) -> pl.DataFrame:
    """Signed sums by usage key and billing window; needs `sign`, and windows of `time`.

    `following` are columns that a usage key decides.
    """
    signed = [pl.col(n) * pl.col("sign") for n in _COUNTS]
    return (
        frame.select("usage_key_id", *following, *signed, window_start=window_of())
        .group_by("usage_key_id", "window_start")
        .agg(pl.sum(*_COUNTS), *(pl.first(name) for name in following))
        .filter(pl.any_horizontal(pl.col(n) != 0 for n in _COUNTS))
        .sort("window_start", "usage_key_id")
    )


def condensed(frame: pl.DataFrame) -> pl.DataFrame:
    """What moves the same windows in fewer rows: attempts inside one window, summed by `cell`.

    Rows of a cell have their keys, and the window of `time`, in common.
    """
    within = frame.select(
        pl.min_horizontal(_TIMES) // WINDOW_US == pl.max_horizontal(_TIMES) // WINDOW_US
    ).to_series()
    moves = frame.select("cell", *MOVES)
    inside = moves if within.all() else moves.filter(within)
    sign = inside["sign"].to_numpy()
    leads, codes = first_rows_of(inside["cell"].to_numpy())
    sums = [pl.Series(n, _summed(inside[n].to_numpy() * sign, codes, leads.size)) for n in _COUNTS]
    found = inside[leads].with_columns(
        *sums,
        *(pl.lit(None, pl.Int64).alias(name) for name in _TIMES[1:]),
        sign=pl.lit(1, pl.Int64),
    )
    rest = () if inside is moves else (moves.filter(~within),)
    together: pl.DataFrame = pl.concat([found, *rest])
    return together.select(MOVES)


def _summed(values: Ints, codes: Ints, size: int) -> Ints:
    found = np.zeros(size, np.int64)
    np.add.at(found, codes, values)
    return found


def activity_windows(frame: pl.DataFrame) -> pl.DataFrame:
    """Signed sums by engine key, window and usage key: input up to the first token, then output."""
    keys = ("engine_key_id", "usage_key_id", "sign")
    spans = frame.select(
        *keys,
        *INPUT_METERS,
        output=pl.col("visible") + pl.col("reasoning"),
        start=_start(),
        middle=_middle(),
        end=_end(),
    )
    # Most attempts lie in one window, which takes all of them.
    whole = spans.select(
        (_window("start") == _window_of_last()) & (_window("start") == _leg_start() // WINDOW_US)
    ).to_series()
    inside = spans if whole.all() else spans.filter(whole)
    found = _sum_work(inside.with_columns(window=_window("start")).select(_SPREAD))
    if inside.height < spans.height:
        parts = [_sum_work(_spread(leg)) for leg in _slices(_legs(spans.filter(~whole)))]
        found = _sum_work(pl.concat([found, *parts]))
    return found.sort("window_start", "engine_key_id", "usage_key_id")


def _window_of_last() -> pl.Expr:
    return pl.max_horizontal("start", pl.col("end") - 1) // WINDOW_US


def _legs(spans: pl.DataFrame) -> pl.DataFrame:
    keys = ("engine_key_id", "usage_key_id", "sign")
    inputs = spans.select(*keys, *INPUT_METERS, "start", end=_leg_end(), output=pl.lit(0, pl.Int64))
    outputs = spans.select(
        *keys,
        *(pl.lit(0, pl.Int64).alias(n) for n in INPUT_METERS),
        "end",
        "output",
        start=_leg_start(),
    )
    return pl.concat([inputs, outputs.select(inputs.columns)])


@dataclass(frozen=True, slots=True)
class Masks:
    """Busy seconds by engine key and window (start in µs): a row of 900 each, sorted."""

    engine_key_ids: Ints
    windows: Ints
    seconds: Bools


def busy_masks(frame: pl.DataFrame) -> Masks:
    """The seconds that attempts touch."""
    spans = frame.select("engine_key_id", start=_start(), end=_end())
    spans = spans.with_columns(last=pl.max_horizontal("start", pl.col("end") - 1))
    found = [_touched(part) for part in _slices(spans) if part.height]
    if not found:
        none = np.empty(0, np.int64)
        return Masks(none, none, np.empty((0, WINDOW_SECONDS), np.bool_))
    return found[0] if len(found) == 1 else _merge(found)


def _touched(spans: pl.DataFrame) -> Masks:
    first, last = spans["start"].to_numpy(), spans["last"].to_numpy()
    windows = first // WINDOW_US
    counts = last // WINDOW_US - windows + 1
    keys = spans["engine_key_id"].to_numpy()
    if (counts > 1).any():
        ordinals = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        windows = np.repeat(windows, counts) + ordinals
        first, last, keys = (np.repeat(one, counts) for one in (first, last, keys))
    base = windows * WINDOW_US
    since = np.maximum(first - base, 0) // _SECOND_US
    until = np.minimum(last - base, WINDOW_US - 1) // _SECOND_US + 1
    cells, codes = _cells(keys, windows)
    width = WINDOW_SECONDS + 1
    size = cells[0].size * width
    begun = np.bincount(codes * width + since, minlength=size)
    begun -= np.bincount(codes * width + until, minlength=size)
    seconds = np.cumsum(begun.reshape(-1, width), axis=1)[:, :WINDOW_SECONDS] > 0
    return Masks(cells[0], cells[1] * WINDOW_US, seconds)


def _cells(keys: Ints, windows: Ints) -> tuple[tuple[Ints, Ints], Ints]:
    """Each distinct pair of key and window, in order, and which of them a row has."""
    names = np.sort(pl.Series(keys).unique().to_numpy())
    lowest = int(windows.min())
    span = int(windows.max()) - lowest + 1
    places = np.searchsorted(names, keys) * span + (windows - lowest)
    taken = np.sort(pl.Series(places).unique().to_numpy())
    cells = (names[taken // span], taken % span + lowest)
    return cells, np.searchsorted(taken, places)


def _merge(found: Sequence[Masks]) -> Masks:
    keys = np.concatenate([one.engine_key_ids for one in found])
    windows = np.concatenate([one.windows for one in found])
    cells, codes = _cells(keys, windows // WINDOW_US)
    order = np.argsort(codes, kind="stable")
    seconds = np.concatenate([one.seconds for one in found])[order]
    firsts = np.searchsorted(codes[order], np.arange(cells[0].size))
    return Masks(cells[0], cells[1] * WINDOW_US, np.logical_or.reduceat(seconds, firsts, axis=0))


def _start() -> pl.Expr:
    # Nobody knows when an attempt without a start began: all of it lies at its end.
    return pl.min_horizontal(pl.coalesce("started_at", "time"), _end())


def _end() -> pl.Expr:
    known = pl.col("started_at").is_not_null()
    return pl.when(known).then(pl.coalesce("ended_at", "time")).otherwise("time")


def _middle() -> pl.Expr:
    inside = (pl.col("first_token_at") >= _start()) & (pl.col("first_token_at") <= _end())
    return pl.when(pl.col("started_at").is_not_null() & inside).then("first_token_at")


def _leg_end() -> pl.Expr:
    return pl.coalesce("middle", "end")


def _leg_start() -> pl.Expr:
    return pl.coalesce("middle", "start")


def _window(name: str) -> pl.Expr:
    return pl.col(name) // WINDOW_US


def _slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    reached = frame.select(_window("end") - _window("start") + 1).to_series()
    if reached.sum() <= SLICE_ROWS:
        yield frame
        return
    sized = frame.with_columns((reached.cum_sum() // SLICE_ROWS).alias("_part"))
    for part in sized.partition_by("_part", maintain_order=True):
        yield part.drop("_part")


def _explode(frame: pl.DataFrame, last: str) -> pl.DataFrame:
    ranges = pl.int_ranges(_window("start"), _window(last) + 1, dtype=pl.Int64)
    return frame.with_columns(window=ranges).explode("window")


def _spread(legs: pl.DataFrame) -> pl.DataFrame:
    legs = legs.with_columns(last=pl.max_horizontal("start", pl.col("end") - 1))
    single = _window("start") == _window("last")
    whole = legs.filter(single).with_columns(window=_window("start"))
    cut = _explode(legs.filter(~single), "last").with_columns(
        length=pl.col("end") - pl.col("start"),
        since=pl.max_horizontal(pl.col("window") * WINDOW_US - pl.col("start"), 0),
        until=pl.min_horizontal(pl.col("window") * WINDOW_US + WINDOW_US, "end") - pl.col("start"),
    )
    shares = cut.with_columns(*(_share(name).alias(name) for name in WORK))
    return pl.concat([whole.select(_SPREAD), shares.select(_SPREAD)])


_SPREAD = ("engine_key_id", "usage_key_id", "sign", "window", *WORK)


def _share(name: str) -> pl.Expr:
    # Tokens × microseconds outgrow 64 bits.
    total = pl.col(name).cast(pl.Int128)
    up_to = [total * pl.col(edge) // pl.col("length") for edge in ("until", "since")]
    return (up_to[0] - up_to[1]).cast(pl.Int64)


def _sum_work(spread: pl.DataFrame) -> pl.DataFrame:
    signed = "window" in spread.columns
    if signed:
        spread = spread.select(
            "engine_key_id",
            "usage_key_id",
            *(pl.col(n) * pl.col("sign") for n in WORK),
            window_start=pl.col("window") * WINDOW_US,
        )
    summed = spread.group_by("engine_key_id", "window_start", "usage_key_id").agg(pl.sum(*WORK))
    return summed.filter(pl.any_horizontal(pl.col(n) != 0 for n in WORK))
