"""What allocation leaves of a window, by natural key: meters, pools and cost lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

import polars as pl

from ledger.domain.cost.allocation import COSTS, ENERGIES

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
SHARE: Mapping[str, pl.DataType] = {
    "usage_key_id": pl.Int64(),
    **dict.fromkeys(ENERGIES, pl.Int64()),
    **dict.fromkeys(COSTS, pl.Int128()),
}
LINE_KEY = (*ALLOCATION_KEY, "usage_key_id")
LINE: Mapping[str, pl.DataType] = {
    **ALLOCATION_KEY,
    "usage_key_id": SHARE["usage_key_id"],
    **LINE_TERMS,
    **SHARE,
}
ALLOCATION: Mapping[str, pl.DataType] = {**ALLOCATION_KEY, "revision": pl.Int32(), **LINE_TERMS}
LineRow: TypeAlias = tuple[str | int | datetime, ...]
AMOUNTS = ("busy_s", *ENERGIES, *COSTS)


@dataclass(slots=True)
class WindowCosts:
    """What came out: meters and pools by natural key, and lines as LINE has them, many together
    or one by one."""

    meters: dict[MeterKey, MeterWindow] = field(default_factory=dict)
    pools: dict[PoolKey, CostPool] = field(default_factory=dict)
    parts: list[pl.DataFrame] = field(default_factory=list)
    rows: list[LineRow] = field(default_factory=list)

    def add(self, other: "WindowCosts") -> None:
        """Take in the costs of another window."""
        self.meters.update(other.meters)
        self.pools.update(other.pools)
        self.parts += other.parts
        self.rows += other.rows

    def lines(self) -> pl.DataFrame:
        """All lines."""
        return pl.concat([pl.DataFrame(self.rows, LINE, orient="row"), *self.parts])


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
    stored: Allocations, computed: pl.DataFrame
) -> tuple[Allocations, Allocations]:
    """What is allocated otherwise from now on, with its next revision and all of its lines, and
    what stood for that before; what was not computed again has no lines from now on, once."""
    key = list(ALLOCATION_KEY)
    values = [name for name in LINE if name not in LINE_KEY]
    pairs = computed.join(stored.lines, on=LINE_KEY, how="left", suffix="_stored")
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_stored")) for name in values]
    changed = pairs.filter(pl.any_horizontal(differs)).select(key)
    ceased = stored.lines.join(computed, on=LINE_KEY, how="anti").select(key)
    touched = pl.concat([changed, ceased]).unique()
    former = stored.only(touched)
    lines = computed.join(touched, on=key, how="semi")
    there = lines.select(*key, *LINE_TERMS).unique(key)
    bare = former.rows.join(there, on=key, how="anti").with_columns(busy_s=pl.lit(0, pl.Int32))
    terms = pl.concat([there, bare.select(there.columns)])
    revision = pl.col("revision").fill_null(0) + 1
    rows = terms.join(former.rows.select(*key, "revision"), on=key, how="left")
    return Allocations(rows.with_columns(revision).select(*ALLOCATION).sort(key), lines), former
