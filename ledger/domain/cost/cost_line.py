"""What allocation leaves of a window, by natural key: meters, pools and cost lines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import polars as pl

from ledger.domain.cost.kinds import KIND_SUMS
from ledger.domain.cost.share import COSTS, ENERGIES
from ledger.domain.cost.taken import TAKEN, KeyShares, as_lines

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

    def lines(self) -> pl.DataFrame:
        """All lines."""
        lines, of_part = as_lines([taken for _, taken in self.taken])
        said = pl.DataFrame([of for of, _ in self.taken], _TAKEN_OF, orient="row")[of_part]
        taken = said.hstack(lines).select(*LINE)
        return pl.concat([pl.DataFrame(self.rows, LINE, orient="row"), taken])

    def by_kind(self) -> pl.DataFrame:
        """What tokens of each kind took."""
        return pl.DataFrame(self.kinds, KINDS, orient="row")


@dataclass(frozen=True, slots=True)
class Allocations:
    """What is allocated of windows: a row as ALLOCATION has it for all lines of a kind, of which
    there may be none, and the lines, in the columns of LINE."""

    rows: pl.DataFrame
    lines: pl.DataFrame

    def only(self, of: pl.DataFrame) -> "Allocations":
        """Those of some natural keys."""
        key = list(ALLOCATION_KEY)
        kept = (frame.join(of, on=key, how="semi") for frame in (self.rows, self.lines))
        return Allocations(*kept)


def next_allocations(
    stored: Allocations, computed: pl.DataFrame, kinds: pl.DataFrame
) -> tuple[Allocations, Allocations]:
    """What is allocated otherwise from now on, with its next revision and all of its lines, and
    what stood for that before; what was not computed again has no lines from now on, once."""
    key = list(ALLOCATION_KEY)
    former, lines = stored, computed
    if not stored.rows.is_empty():
        touched = pl.concat(
            [
                _other(stored.lines, computed, LINE_KEY).select(key),
                stored.lines.join(computed, on=LINE_KEY, how="anti").select(key),
                _other(stored.rows, kinds, key, KIND_SUMS).select(key),
            ]
        ).unique()
        former, lines = stored.only(touched), computed.join(touched, on=key, how="semi")
    # Lines of a key mostly lie together: few are left to be told apart.
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in key)
    there = lines.filter(begins).select(*key, *LINE_TERMS).unique(key)
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
