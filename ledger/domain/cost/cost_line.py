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


LINE_KEY: Mapping[str, pl.DataType] = {
    **{"scope": pl.String(), "window_start": pl.Datetime("us", "UTC"), "line": pl.String()},
    "usage_key_id": pl.Int64(),
}
LINE_TERMS: Mapping[str, pl.DataType] = {
    **{"currency": pl.String(), "weight_version": pl.Int32()},
    **dict.fromkeys(("weight_uncached", "weight_cache_read"), pl.Int32()),
    **dict.fromkeys(("weight_cache_write", "weight_output"), pl.Int32()),
    **{"gpu_terms": pl.String(), "busy_s": pl.Int32()},
}
# Lines of scopes' windows, with the weights that cut them: costs are whole numbers of 1e-12.
LINE: Mapping[str, pl.DataType] = {
    **LINE_KEY,
    **LINE_TERMS,
    **dict.fromkeys(ENERGIES, pl.Int64()),
    **dict.fromkeys(COSTS, pl.Int128()),
}
LineRow: TypeAlias = tuple[str | int | datetime, ...]
# What is nothing of a line that ceased to apply.
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


def next_lines(stored: pl.DataFrame, computed: pl.DataFrame) -> pl.DataFrame:
    """Lines that differ from those stored, whose `revision` they have, with the next `revision`;
    what was not computed again is nothing from now on, once."""
    key = list(LINE_KEY)
    values = [name for name in LINE if name not in key]
    pairs = computed.join(stored, on=key, how="left", suffix="_stored")
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_stored")) for name in values]
    changed = pairs.filter(pl.any_horizontal(differs)).with_columns(
        revision=pl.col("revision").fill_null(0) + 1
    )
    gone = stored.join(computed, on=key, how="anti")
    ceased = gone.filter(pl.any_horizontal(pl.col(name) != 0 for name in AMOUNTS)).with_columns(
        *(pl.lit(0, LINE[name]).alias(name) for name in AMOUNTS), revision=pl.col("revision") + 1
    )
    return pl.concat([changed.select(stored.columns), ceased])
