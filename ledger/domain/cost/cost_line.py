"""What allocation leaves of a window, by natural key: meters, pools and cost lines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from ledger.domain.cost.kinds import KIND_SUMS
from ledger.domain.cost.line_runs import ALLOCATION_KEY, LINE, LINE_KEY, LINE_TERMS, RUN, LineRuns
from ledger.domain.cost.share import COSTS, ENERGIES
from ledger.domain.cost.taken import KeyShares, runs_of

PoolKey: TypeAlias = tuple[str, datetime, str]
MeterKey: TypeAlias = tuple[str, datetime]


@dataclass(frozen=True, slots=True)
class MeterWindow:
    """Energy of one GPU in one window in mJ, measured and estimated apart."""

    metered_mj: int
    estimated_mj: int
    covered_s: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CostPool:
    """What a scope's window costs before anybody is charged with it."""

    currency: str
    amount: Decimal


# Beside lines of usage: what tokens of each kind took of all of them.
KINDS: Mapping[str, pl.DataType] = {**ALLOCATION_KEY, **KIND_SUMS}
ALLOCATION: Mapping[str, pl.DataType] = {
    **ALLOCATION_KEY,
    "revision": pl.Int32(),
    **LINE_TERMS,
    **KIND_SUMS,
}
# Scope, start of the window and terms: what lines have in common that were taken of one scope.
TakenOf: TypeAlias = tuple[str | int | datetime, ...]
_TAKEN_OF = {
    name: kind for name, kind in {**ALLOCATION_KEY, **LINE_TERMS}.items() if name != "line"
}
LineRow: TypeAlias = tuple[str | int | datetime, ...]
AMOUNTS = ("busy_s", *ENERGIES, *COSTS)


@dataclass(slots=True)
class WindowCosts:
    """What came out: meters and pools by natural key; lines as LINE has them, those that were taken
    by what they have in common, and others one by one; and rows of KINDS."""

    meters: dict[MeterKey, MeterWindow] = field(default_factory=dict)
    pools: dict[PoolKey, CostPool] = field(default_factory=dict)
    taken: list[tuple[TakenOf, KeyShares]] = field(default_factory=list)
    rows: list[LineRow] = field(default_factory=list)
    kinds: list[LineRow] = field(default_factory=list)

    def add(self, other: "WindowCosts") -> None:
        """Take in the costs of another window."""
        self.meters.update(other.meters)
        self.pools.update(other.pools)
        self.taken += other.taken
        self.rows += other.rows
        self.kinds += other.kinds

    def lines(self) -> LineRuns:
        """All lines."""
        single = LineRuns.of_frame(pl.DataFrame(self.rows, LINE, orient="row"))
        of = pl.DataFrame([of for of, _ in self.taken], _TAKEN_OF, orient="row")
        runs = runs_of([taken for _, taken in self.taken])
        told = of[runs.part].with_columns(pl.Series("line", runs.line, pl.String)).select(*RUN)
        return LineRuns(
            pl.concat([single.of, told]),
            np.concatenate([single.counts, runs.counts]),
            pl.concat([single.taken, runs.taken], how="vertical_relaxed"),
        )

    def by_kind(self) -> pl.DataFrame:
        """What tokens of each kind took."""
        return pl.DataFrame(self.kinds, KINDS, orient="row")


@dataclass(frozen=True, slots=True)
class Allocations:
    """What is allocated of windows: a row as ALLOCATION has it for all lines of a kind, of which
    there may be none, and the lines."""

    rows: pl.DataFrame
    lines: LineRuns

    def only(self, of: pl.DataFrame) -> "Allocations":
        """Those of some natural keys."""
        rows = self.rows.join(of, on=list(ALLOCATION_KEY), how="semi")
        return Allocations(rows, self.lines.only(of))


def next_allocations(
    stored: Allocations, computed: LineRuns, kinds: pl.DataFrame
) -> tuple[Allocations, Allocations]:
    """What is allocated otherwise from now on, with its next revision and all of its lines, and
    what stood for that before; what was not computed again has no lines from now on, once."""
    key = list(ALLOCATION_KEY)
    former, lines = stored, computed
    if not stored.rows.is_empty():
        before, now = stored.lines.frame(), computed.frame()
        touched = pl.concat(
            [
                _other(before, now, LINE_KEY).select(key),
                before.join(now, on=LINE_KEY, how="anti").select(key),
                _other(stored.rows, kinds, key, KIND_SUMS).select(key),
            ]
        ).unique()
        former, lines = stored.only(touched), computed.only(touched)
    there = lines.of
    bare = former.rows.join(there, on=key, how="anti").with_columns(busy_s=pl.lit(0, pl.Int32))
    terms = pl.concat([there, bare.select(there.columns)])
    # What has no lines has no kinds either.
    of_kinds = kinds.join(there, on=key, how="semi")
    rows = terms.join(former.rows.select(*key, "revision"), on=key, how="left").join(
        of_kinds, on=key, how="left"
    )
    revision = pl.col("revision").fill_null(0) + 1
    none = (pl.col(name).fill_null(0) for name in KIND_SUMS)
    numbered = rows.with_columns(revision, *none).select(*ALLOCATION).sort(key)
    return Allocations(numbered, lines), former


def _other(
    stored: pl.DataFrame, computed: pl.DataFrame, key: Sequence[str], names: Collection[str] = ()
) -> pl.DataFrame:
    """What was computed and is not as it is stored: all of it, or in what is named. Of what is
    named, only where something is stored."""
    how: Literal["inner", "left"] = "inner" if names else "left"
    values = names or [name for name in computed.columns if name not in key]
    pairs = computed.join(stored, on=list(key), how=how, suffix="_stored")
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_stored")) for name in values]
    return pairs.filter(pl.any_horizontal(differs))
