"""Cost lines by run: what lines of a scope, a window and a kind have in common is told once.

Invariant: lines of a run lie together and in the order of their usage keys, run after run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Ints
from ledger.domain.cost.taken import TAKEN

# What is allocated of a window: lines of one kind, with the weights that cut them.
ALLOCATION_KEY: Mapping[str, pl.DataType] = {
    **{"scope": pl.String(), "window_start": pl.Datetime("us", "UTC"), "line": pl.String()},
}
LINE_TERMS: Mapping[str, pl.DataType] = {
    **{"currency": pl.String(), "weight_version": pl.Int32()},
    **dict.fromkeys(("weight_uncached", "weight_cache_read"), pl.Int32()),
    **dict.fromkeys(("weight_cache_write", "weight_output"), pl.Int32()),
    **{"gpu_terms": pl.String(), "busy_s": pl.Int32()},
}
# A line of it: costs are whole numbers of 1e-12.
SHARE = TAKEN
LINE_KEY = (*ALLOCATION_KEY, "usage_key_id")
LINE: Mapping[str, pl.DataType] = {
    **ALLOCATION_KEY,
    "usage_key_id": SHARE["usage_key_id"],
    **LINE_TERMS,
    **SHARE,
}
RUN: Mapping[str, pl.DataType] = {**ALLOCATION_KEY, **LINE_TERMS}
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True, eq=False)
class LineRuns:
    """Runs of lines: `of` has a row of RUN for each, `counts` how many lines it has, and `taken`
    all lines in the columns of SHARE, of which those of costs may be as narrow as they fit."""

    of: pl.DataFrame
    counts: Ints
    taken: pl.DataFrame

    @classmethod
    def of_frame(cls, lines: pl.DataFrame) -> "LineRuns":
        """Lines in the columns of LINE, in any order."""
        ordered = lines.sort([*RUN, "usage_key_id"])
        runs = ordered.group_by([*RUN], maintain_order=True).len("counts")
        counts = runs["counts"].to_numpy().astype(np.int64)
        return cls(runs.select(*RUN), counts, ordered.select(_narrow(ordered[n]) for n in SHARE))

    def frame(self) -> pl.DataFrame:
        """The lines in the columns of LINE."""
        wide = self.taken.select(pl.col(name).cast(kind) for name, kind in SHARE.items())
        return self.of[self.numbers()].hstack(wide).select(*LINE)

    def numbers(self) -> Ints:
        """Of which run each line is."""
        return np.repeat(np.arange(self.counts.size), self.counts)

    def where(self, kept: Bools) -> "LineRuns":
        """Some of the runs, in their order."""
        if kept.all():
            return self
        lines = self.taken.filter(pl.Series(np.repeat(kept, self.counts)))
        return LineRuns(self.of.filter(pl.Series(kept)), self.counts[kept], lines)

    def only(self, of: pl.DataFrame) -> "LineRuns":
        """Those that have what rows of a frame have of the columns of RUN."""
        named = self.of.select(of.columns).with_row_index("run")
        kept = np.zeros(self.counts.size, np.bool_)
        kept[named.join(of, on=of.columns, how="semi")["run"].to_numpy()] = True
        return self.where(kept)

    def summable(self, names: Sequence[str]) -> list[pl.Series]:
        """Columns of lines in as few bits as sums of all of them have room in."""
        return [_summable(self.taken[name]) for name in names]


def _narrow(column: pl.Series) -> pl.Series:
    return column.cast(pl.Int64 if _most(column) <= _LARGEST else pl.Int128)


def _summable(column: pl.Series) -> pl.Series:
    fits = _most(column) * len(column) <= _LARGEST
    return column.cast(pl.Int64 if fits else pl.Int128)


def _most(column: pl.Series) -> int:
    """How large whole numbers are, whatever their sign."""
    ends = column.min(), column.max()
    return max((abs(each) for each in ends if isinstance(each, int)), default=0)
