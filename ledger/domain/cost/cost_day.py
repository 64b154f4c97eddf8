"""Adds cost lines up by local day, as differences: what changed lines come to beyond what they did.

Invariant: of a day that is added up the differences sum to its lines as they stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled
from ledger.domain.cost.cost_line import AMOUNTS
from ledger.domain.cost.line_runs import LINE, LineRuns
from ledger.domain.cost.share import COSTS, ENERGIES
from ledger.domain.cost.whole_days import MeterDay, MeterSums, PoolDay
from ledger.domain.period import Period

_TIME = pl.Datetime("us", "UTC")
DAY_KEY: Mapping[str, pl.DataType] = {
    "day_start": _TIME,
    **{name: LINE[name] for name in ("scope", "line", "usage_key_id", "currency", "gpu_terms")},
}
# Sums of lines of a day: costs are whole numbers of 1e-12.
DAY_LINE: Mapping[str, pl.DataType] = {
    **DAY_KEY,
    **dict.fromkeys(("busy_s", *ENERGIES), pl.Int64()),
    **dict.fromkeys(COSTS, pl.Int128()),
}
# What lines of a run have in common, and what is added up of them one by one.
_OF_RUNS = [name for name in DAY_KEY if name != "usage_key_id"]
_SUMMED = (*ENERGIES, *COSTS)


@dataclass(frozen=True, slots=True)
class DaySums:
    """What is appended of days, in the columns of DAY_LINE, and the days it begins with; beside
    them what pools and meters add, pools in 1e-12."""

    lines: pl.DataFrame
    begun: Sequence[Period] = ()
    pools: Mapping[PoolDay, int] = field(default_factory=dict)
    meters: Mapping[MeterDay, MeterSums] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.begun or self.pools or self.meters) or not self.lines.is_empty()


def sum_days(
    *,
    come: LineRuns,
    gone: LineRuns,
    standing: pl.DataFrame,
    days: Mapping[datetime, datetime],
    over: Sequence[Period],
) -> DaySums:
    """What lines that `come` in place of those `gone` add to days, with all that is `standing` of
    those that are just `over`.

    `days` says the start of the day of a window; lines of other windows are left out. A line of a
    day just over is told though it comes to nothing.
    """
    parts = [_wide(standing), _of_days(come, days, 1), _of_days(gone, days, -1)]
    summed = pl.concat(parts).group_by(list(DAY_KEY)).agg(pl.col(name).sum() for name in AMOUNTS)
    starts = [day.start for day in over]
    first = pl.col("day_start").is_in(starts) if starts else pl.lit(value=False)
    moved = pl.any_horizontal(pl.col(name) != 0 for name in AMOUNTS)
    # What is more than 64 bits is refused, and not wrapped.
    told = summed.filter(first | moved)
    lines = told.select(pl.col(name).cast(kind) for name, kind in DAY_LINE.items())
    lines = lines.sort(list(DAY_KEY))
    there = {*lines["day_start"].unique()}
    return DaySums(lines, [day for day in over if day.start in there])


def _of_days(lines: LineRuns, days: Mapping[datetime, datetime], sign: int) -> pl.DataFrame:
    """What lines come to by day: added up by numbers of what they have in common, and then told."""
    named = {"window_start": [*days], "day_start": [*days.values()]}
    dated = pl.DataFrame(named, schema=dict.fromkeys(named, _TIME))
    runs = lines.of.with_columns(pl.Series("counts", lines.counts)).join(
        dated, on="window_start", how="left", maintain_order="left"
    )
    groups = runs.drop_nulls("day_start").select(_OF_RUNS).unique().with_row_index("group")
    runs = runs.join(groups, on=_OF_RUNS, how="left", maintain_order="left")
    taken = pl.DataFrame([lines.taken["usage_key_id"], *lines.summable(_SUMMED)])
    few = _in_a_table(runs, taken, groups.height)
    sums = _grouped(runs[lines.numbers()], taken) if few is None else few
    placed = sums.join(groups, on="group").select(*DAY_KEY, *AMOUNTS)
    return _wide(placed).with_columns(pl.col(name) * sign for name in AMOUNTS)


def _grouped(runs: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Sums by group and usage key of lines, each beside its run; those of no group are left out."""
    every = runs.select("group", "busy_s").hstack(taken)
    told = every.filter(pl.col("group").is_not_null())
    return told.group_by("group", "usage_key_id").agg(
        pl.col("busy_s").cast(pl.Int64).sum(), *(pl.col(name).sum() for name in _SUMMED)
    )


def _in_a_table(runs: pl.DataFrame, taken: pl.DataFrame, groups: int) -> pl.DataFrame | None:
    """The same where sums are of 64 bits and all keys of all groups are no more than lines."""
    known = taken["usage_key_id"].unique().sort().to_numpy()
    if not 0 < groups * known.size <= taken.height or taken.dtypes != [pl.Int64] * taken.width:
        return None
    table, end = np.zeros((groups, known.size, 1 + len(AMOUNTS)), np.int64), 0
    said = taken.get_columns()
    for group, busy_s, count in runs.select("group", "busy_s", "counts").iter_rows():
        if group is not None:
            keys, *columns = (column.slice(end, count).to_numpy() for column in said)
            add_lines(table[group], known, keys, busy_s, tuple(columns))
        end += count
    group, key = np.nonzero(table[:, :, 0])
    sums = dict(zip(AMOUNTS, table[group, key, 1:].T, strict=True))
    named = {"group": pl.Series(group, dtype=pl.get_index_type()), "usage_key_id": known[key]}
    return pl.DataFrame(named | sums)


@compiled
def add_lines(table: Ints, known: Ints, keys: Ints, busy_s: int, columns: tuple[Ints, ...]) -> None:
    """Count lines into the rows of their keys, and add up what they have; lines that are in the
    order of their keys are found soonest."""
    at = 0
    for n in range(keys.size):
        at, step = at if known[at] <= keys[n] else 0, 1
        while at + step < known.size and known[at + step] <= keys[n]:
            at, step = at + step, step * 2
        while known[at] != keys[n]:
            step = max(step // 2, 1)
            if at + step < known.size and known[at + step] <= keys[n]:
                at += step
        table[at, 0] += 1
        table[at, 1] += busy_s
        for each in range(len(columns)):
            table[at, each + 2] += columns[each][n]


def _wide(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.with_columns(pl.col(name).cast(pl.Int128) for name in AMOUNTS)
