"""The lines of an allocated window as objects, for tests that look at a few of them."""

from decimal import Decimal
from typing import NamedTuple

import polars as pl

from ledger.domain.apportion import amount_of
from ledger.domain.cost.allocation import WindowAllocation
from ledger.domain.cost.cause import IDLE, USAGE
from ledger.domain.cost.share import SHARES
from ledger.domain.cost.taken import KeyShares, runs_of


class AllocatedLine(NamedTuple):
    """One line, costs as amounts."""

    line: str
    usage_key_id: int
    device_metered_mj: int
    device_estimated_mj: int
    host_mj: int
    overhead_mj: int
    device_cost: Decimal
    overhead_cost: Decimal
    gpu_cost: Decimal


def lines_taken(taken: KeyShares) -> pl.DataFrame:
    """What was taken with the kind of each line."""
    runs = runs_of([taken])
    kinds = [line for line, count in zip(runs.line, runs.counts, strict=True) for _ in range(count)]
    return runs.taken.with_columns(line=pl.Series(kinds, dtype=pl.String))


def lines_of(allocated: WindowAllocation) -> list[AllocatedLine]:
    """Usage by key, then unattributed, then idle."""
    used = (
        lines_taken(allocated.taken)
        .select("line", "usage_key_id", *SHARES)
        .sort("line", descending=True, maintain_order=True)
    )
    rows = [*used.iter_rows(), (IDLE, 0, *allocated.idle.parts())]
    lines = [AllocatedLine(*row[:-3], *map(amount_of, row[-3:])) for row in rows]
    return [line for line in lines if line.line == USAGE or any(line[2:])]
