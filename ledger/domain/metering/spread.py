"""Turns attempts into window rows: tokens where they were billed, where they were worked on, and
the seconds in which work ran.

Invariant: what is spread adds up to what came in, for any cut (`apportion.cumulative_split` is the
rule for one attempt), and masks of the same attempts are the same in any order (`busy`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Ints
from ledger.domain.frames import MANY_ROWS, are_known, filled, keep_rows, only
from ledger.domain.metering.numbering import combined, first_rows, first_rows_of, grouped
from ledger.domain.period import WINDOW_SECONDS

_SECOND_US, _INT64_LIMIT = 1_000_000, 2**63
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
# What tells work apart, in the order in which it is sorted.
_CELL = ("window", "engine_key_id", "usage_key_id")
_KEYS = ("engine_key_id", "usage_key_id", "sign")
# Which counts are worked on between which moments.
_LEGS = ((INPUT_METERS, "start", "read"), (("output",), "wrote", "end"))
Columns = Mapping[str, Ints]


def window_of() -> pl.Expr:
    """The window of `time` as microseconds of its start."""
    return pl.col("time") // WINDOW_US * WINDOW_US


def usage_windows(frame: pl.DataFrame, following: Sequence[str] = ()) -> pl.DataFrame:
    """Signed sums by usage key and billing window; needs `sign`, and windows of `time`.

    `following` are columns that a usage key decides.
    """
    keys, windows = _ints(frame, "usage_key_id"), _ints(frame, "time") // WINDOW_US
    groups = grouped([windows, keys])
    sign = _ints(frame, "sign")
    sums = {name: groups.sums(_ints(frame, name) * sign) for name in _COUNTS}
    moved = _any_moved(sums, _COUNTS)
    leads = groups.leads[moved]
    return pl.DataFrame(
        {
            "usage_key_id": keys[leads],
            "window_start": windows[leads] * WINDOW_US,
            **{name: values[moved] for name, values in sums.items()},
            **{name: frame[name][leads] for name in following},
        }
    )


def condensed(frame: pl.DataFrame) -> pl.DataFrame:
    """What moves the same windows in fewer rows: attempts inside one window, summed by `cell`.

    Rows of a cell have their keys, and the window of `time`, in common.
    """
    time = _ints(frame, "time")
    window = time // WINDOW_US
    within = np.ones(frame.height, np.bool_)
    for name in _TIMES[1:]:
        within &= _known(frame[name], time) // WINDOW_US == window
    # Nothing is copied of those that lie inside, which nearly all do: the others add nothing here.
    sign = _ints(frame, "sign") * within
    leads, codes = first_rows_of(_ints(frame, "cell"))
    filled_cells = np.zeros(leads.size, np.bool_)
    filled_cells[codes[within]] = True
    leads, sums = leads[filled_cells], {}
    for name in _COUNTS:
        sums[name] = _summed(_ints(frame, name) * sign, codes, filled_cells.size)[filled_cells]
    unknown = pl.Series([None], dtype=pl.Int64).new_from_index(0, leads.size)
    inside = pl.DataFrame(
        {
            **{name: frame[name][leads] for name in MOVES[:4]},
            **dict.fromkeys(_TIMES[1:], unknown),
            **sums,
            "sign": np.ones(leads.size, np.int64),
        }
    )
    if within.all():
        return inside
    return pl.concat([inside, keep_rows(only(frame, MOVES), ~within)])


def _summed(values: Ints, codes: Ints, size: int) -> Ints:
    sums = np.zeros(size, np.int64)
    np.add.at(sums, codes, values)
    return sums


def _ints(frame: pl.DataFrame, name: str) -> Ints:
    return frame[name].to_numpy()


def _known(series: pl.Series, otherwise: Ints) -> Ints:
    """A column's values, and others where it has none."""
    if series.null_count() == len(series):
        return otherwise
    known = are_known(series)
    if known is None:
        return series.to_numpy()
    values: Ints = np.where(known, filled(series, 0), otherwise)
    return values


def _any_moved(sums: Columns, names: Sequence[str]) -> Bools:
    moved: Bools = np.any([sums[name] != 0 for name in names], axis=0)
    return moved


@dataclass(frozen=True, slots=True)
class _Spans:
    """When attempts ran: input was worked on until `read`, output from `wrote` on.

    Both are the first token where it lies inside. Nobody knows when an attempt without a start
    began: all of it lies at its end.
    """

    start: Ints
    read: Ints
    wrote: Ints
    end: Ints

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "_Spans":
        """Of a frame with `time`, `started_at`, `first_token_at` and `ended_at`."""
        time = _ints(frame, "time")
        started = are_known(frame["started_at"])
        if started is None:
            started = np.ones(frame.height, np.bool_)
        end: Ints = np.where(started, _known(frame["ended_at"], time), time)
        start = np.minimum(_known(frame["started_at"], time), end)
        first = _known(frame["first_token_at"], start - 1)
        inside = started & (start <= first) & (first <= end)
        return cls(start, np.where(inside, first, end), np.where(inside, first, start), end)

    def columns(self) -> dict[str, Ints]:
        """The four moments by name."""
        return {"start": self.start, "read": self.read, "wrote": self.wrote, "end": self.end}

    @property
    def last(self) -> Ints:
        """The last microsecond that is touched."""
        return np.maximum(self.start, self.end - 1)

    def lie_in_one_window(self) -> Bools:
        """Which were worked on in one window."""
        window = self.start // WINDOW_US
        whole: Bools = (window == self.last // WINDOW_US) & (window == self.wrote // WINDOW_US)
        return whole


def moved(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What attempts move, signed and not summed: a row each of its usage key and billing window,
    with the engine key where all of it was worked on there too, and activity of all others.

    Needs `sign`, and `customer_id`, which a usage key decides.
    """
    spans, windows, sign = _Spans.of(frame), _ints(frame, "time") // WINDOW_US, _ints(frame, "sign")
    here = spans.lie_in_one_window() & (spans.start // WINDOW_US == windows)
    counts = {name: _ints(frame, name) * sign for name in _COUNTS}
    rows = pl.DataFrame(
        {
            "usage_key_id": frame["usage_key_id"],
            "window_start": windows * WINDOW_US,
            "customer_id": frame["customer_id"],
            "engine_key_id": frame["engine_key_id"],
            **counts,
        }
    )
    elsewhere = frame.clear()
    if not here.all():
        rows = rows.with_columns(
            pl.when(pl.Series(here)).then("engine_key_id").alias("engine_key_id")
        )
        elsewhere = frame.filter(pl.Series(~here))
    return keep_rows(rows, _any_moved(counts, _COUNTS)), activity_windows(elsewhere)


def activity_windows(frame: pl.DataFrame) -> pl.DataFrame:
    """Signed sums by engine key, window and usage key: input up to the first token, then output."""
    spans = _Spans.of(frame)
    work = {name: _ints(frame, name) for name in (*_KEYS, *INPUT_METERS)}
    work["output"] = _ints(frame, "visible") + _ints(frame, "reasoning")
    # Most attempts lie in one window, which takes all of them.
    work["window"] = spans.start // WINDOW_US
    whole = spans.lie_in_one_window()
    summed = _sum_work([work if whole.all() else _some(work, whole)])
    if not whole.all():
        summed = _sum_work([summed, *_spread_legs(_some(work | spans.columns(), ~whole))])
    moved = _any_moved(summed, WORK)
    sums = {name: summed[name][moved] for name in ("engine_key_id", "usage_key_id", *WORK)}
    windows = pl.Series("window_start", summed["window"][moved] * WINDOW_US)
    return pl.DataFrame(sums).insert_column(1, windows)


def engine_windows(frame: pl.DataFrame) -> pl.DataFrame:
    """Signed sums by engine key and window as of one usage key, 0; a row or more of each."""
    spans = _Spans.of(frame)
    whole = spans.lie_in_one_window()
    (engines, windows), codes = _cells(_ints(frame, "engine_key_id"), spans.start // WINDOW_US)
    # What reaches into other windows adds nothing here.
    sign = _ints(frame, "sign") * whole
    work = {name: _ints(frame, name) for name in INPUT_METERS}
    work["output"] = _ints(frame, "visible") + _ints(frame, "reasoning")
    summed = pl.DataFrame(
        {
            "engine_key_id": engines,
            "window_start": windows * WINDOW_US,
            "usage_key_id": np.zeros(engines.size, np.int64),
            **{name: _summed(work[name] * sign, codes, engines.size) for name in WORK},
        }
    )
    if whole.all():
        return summed
    others = keep_rows(frame, ~whole).with_columns(usage_key_id=pl.lit(0, pl.Int64))
    return pl.concat([summed, activity_windows(others)])


def _spread_legs(work: Columns) -> Iterator[Columns]:
    for names, since, until in _LEGS:
        first, last = work[since] // WINDOW_US, work[until] // WINDOW_US
        for rows in _slices(first, last):
            part = {name: values[rows] for name, values in work.items()}
            yield _sum_work([_spread(part, names, since, until)])


def _some(columns: Columns, rows: Bools) -> dict[str, Ints]:
    return {name: values[rows] for name, values in columns.items()}


def _sum_work(parts: Sequence[Columns]) -> dict[str, Ints]:
    """Sums by window, engine key and usage key, sorted by them; each of a sign of 1."""
    joined = {
        name: np.concatenate([part[name] for part in parts]) for name in (*_CELL, *WORK, "sign")
    }
    groups = grouped([joined[name] for name in _CELL])
    sums = {name: groups.sums(joined[name] * joined["sign"]) for name in WORK}
    cells = {name: joined[name][groups.leads] for name in _CELL}
    return cells | sums | {"sign": np.ones(groups.leads.size, np.int64)}


def _spread(work: Columns, names: Sequence[str], since: str, until: str) -> dict[str, Ints]:
    """These counts over the windows from `since` to `until`, the others as nothing."""
    start, end = work[since], work[until]
    first, last = start // WINDOW_US, np.maximum(start, end - 1) // WINDOW_US
    rows, windows = reached(first, last)
    spread = {name: work[name][rows] for name in (*_KEYS, *names)}
    cut = (first < last)[rows]
    length = (end - start)[rows]
    base = windows * WINDOW_US - start[rows]
    edges = {"since": np.maximum(base, 0), "until": np.minimum(base + WINDOW_US, length)}
    parts = _some({name: spread[name] for name in names} | edges | {"length": length}, cut)
    for name in names:
        spread[name][cut] = _shares(parts[name], parts)
    return dict.fromkeys(WORK, np.zeros(rows.size, np.int64)) | spread | {"window": windows}


def reached(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Each row once for every window that it reaches, and those windows."""
    counts = last - first + 1
    rows = np.repeat(np.arange(first.size), counts)
    return rows, first[rows] + np.arange(rows.size) - (np.cumsum(counts) - counts)[rows]


def _shares(totals: Ints, cut: Columns) -> Ints:
    """What falls between `since` and `until` of totals that are spread over `length`."""
    most = max(int(np.abs(totals).max(initial=0)), 1) * int(cut["length"].max(initial=0))
    if most < _INT64_LIMIT:
        up_to = [totals * cut[edge] // cut["length"] for edge in ("until", "since")]
        return up_to[0] - up_to[1]
    # Tokens × microseconds may outgrow 64 bits.
    of = pl.DataFrame(
        {"total": totals, **{name: cut[name] for name in ("since", "until", "length")}}
    )
    total = pl.col("total").cast(pl.Int128)
    parts = [total * pl.col(edge) // pl.col("length") for edge in ("until", "since")]
    shares: Ints = of.select((parts[0] - parts[1]).cast(pl.Int64)).to_series().to_numpy()
    return shares


def _slices(first: Ints, last: Ints) -> Iterator[slice]:
    """Rows that together reach SLICE_ROWS windows, or a row more."""
    reached = np.cumsum(last - first + 1)
    edges = np.flatnonzero(np.diff(reached // SLICE_ROWS)) + 1
    for since, until in pairwise([0, *edges.tolist(), first.size]):
        yield slice(since, until)


@dataclass(frozen=True, slots=True)
class Masks:
    """Busy seconds by engine key and window (start in µs): a row of 900 each, sorted."""

    engine_key_ids: Ints
    windows: Ints
    seconds: Bools


def busy_masks(frame: pl.DataFrame) -> Masks:
    """The seconds that attempts touch."""
    spans, keys = _Spans.of(frame), _ints(frame, "engine_key_id")
    start, last = spans.start, spans.last
    masks = [
        _touched(keys[rows], start[rows], last[rows])
        for rows in _slices(start // WINDOW_US, last // WINDOW_US)
    ]
    return masks[0] if len(masks) == 1 else _merge(masks)


def _touched(keys: Ints, first: Ints, last: Ints) -> Masks:
    windows = first // WINDOW_US
    if (windows != last // WINDOW_US).any():
        rows, windows = reached(windows, last // WINDOW_US)
        first, last, keys = first[rows], last[rows], keys[rows]
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
    few = keys.size < MANY_ROWS
    names = np.unique(keys) if few else np.sort(pl.Series(keys).unique().to_numpy())
    lowest = windows.min()
    span = int(windows.max() - lowest) + 1
    columns = [(np.searchsorted(names, keys), names.size), (windows - lowest, span)]
    codes, count = combined(columns, keys.size)
    leads = first_rows(codes, count)
    return (keys[leads], windows[leads]), codes


def _merge(masks: Sequence[Masks]) -> Masks:
    keys = np.concatenate([mask.engine_key_ids for mask in masks])
    windows = np.concatenate([mask.windows for mask in masks])
    groups = grouped([keys, windows])
    seconds = np.concatenate([mask.seconds for mask in masks])[groups.order]
    merged = np.logical_or.reduceat(seconds, groups.begins, axis=0)
    return Masks(keys[groups.leads], windows[groups.leads], merged)
