"""Turns attempts into window rows: tokens where they were billed, where they were worked on, and
the seconds in which work ran.

Invariant: what is spread adds up to what came in, for any cut (`apportion.cumulative_split` is the
rule for one attempt), and masks of the same attempts are the same in any order (`busy.mask_of`).
"""

from collections.abc import Iterator

import polars as pl

from ledger.domain.busy import ALL_BUSY
from ledger.domain.period import WINDOW_SECONDS

WINDOW_US = WINDOW_SECONDS * 1_000_000
METERS = ("uncached", "cache_read", "cache_write", "visible", "reasoning")
INPUT_METERS = ("uncached", "cache_read", "cache_write")
WORK = (*INPUT_METERS, "output")
# A few attempts over many windows are spread in slices, so that memory stays flat.
SLICE_ROWS = 1_000_000


def window_of() -> pl.Expr:
    """The window of `time` as microseconds of its start."""
    return _window("time") * WINDOW_US


def usage_windows(frame: pl.DataFrame) -> pl.DataFrame:
    """Signed sums by usage key and billing window; needs `sign`, and windows of `time`."""
    signed = [pl.col(n) * pl.col("sign") for n in ("requests", *METERS)]
    return (
        frame.select("usage_key_id", *signed, window_start=window_of())
        .group_by("usage_key_id", "window_start")
        .agg(pl.sum("requests", *METERS))
        .filter(pl.any_horizontal(pl.col(n) != 0 for n in ("requests", *METERS)))
        .sort("window_start", "usage_key_id")
    )


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
    inputs = spans.select(*keys, *INPUT_METERS, "start", end=_leg_end(), output=pl.lit(0, pl.Int64))
    outputs = spans.select(
        *keys,
        *(pl.lit(0, pl.Int64).alias(n) for n in INPUT_METERS),
        "end",
        "output",
        start=_leg_start(),
    )
    legs = pl.concat([inputs, outputs.select(inputs.columns)])
    parts = [_sum_work(_spread(leg)) for leg in _slices(legs)]
    return _sum_work(pl.concat(parts)).sort("window_start", "engine_key_id", "usage_key_id")


def busy_masks(frame: pl.DataFrame) -> list[tuple[int, int, int]]:
    """(engine key, window start in µs, mask) of the seconds attempts touch; bit n is second n."""
    spans = frame.select("engine_key_id", start=_start(), end=_end()).unique()
    spans = spans.with_columns(last=pl.max_horizontal("start", pl.col("end") - 1))
    masks: dict[tuple[int, int], int] = {}
    for part in _slices(spans):
        for key, window, first, last in _seconds(part).iter_rows():
            place = (key, window)
            masks[place] = masks.get(place, 0) | _run(first, last)
    return [(key, window, mask) for (key, window), mask in sorted(masks.items())]


def _run(first: int, last: int) -> int:
    if last - first == WINDOW_SECONDS - 1:
        return ALL_BUSY
    return ((1 << (last - first + 1)) - 1) << first


def _seconds(spans: pl.DataFrame) -> pl.DataFrame:
    exploded = _explode(spans, "last")
    base = pl.col("window") * WINDOW_US
    return exploded.select(
        "engine_key_id",
        window_start=base,
        first=(pl.max_horizontal("start", base) - base) // 1_000_000,
        last=(pl.min_horizontal("last", base + WINDOW_US - 1) - base) // 1_000_000,
    ).unique()


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
    sized = frame.with_columns(
        _part=(_window("end") - _window("start") + 1).cum_sum() // SLICE_ROWS
    )
    if sized.height == 0:
        yield frame
        return
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
