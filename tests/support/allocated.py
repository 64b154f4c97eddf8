"""The lines of an allocated window as objects, for tests that look at a few of them."""

from decimal import Decimal
from typing import NamedTuple

from ledger.domain.apportion import amount_of
from ledger.domain.cost.allocation import WindowAllocation
from ledger.domain.cost.cause import IDLE, USAGE
from ledger.domain.cost.share import SHARES
from ledger.domain.cost.taken import as_lines


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


def lines_of(allocated: WindowAllocation) -> list[AllocatedLine]:
    """Usage by key, then unattributed, then idle."""
    used = (
        as_lines([allocated.taken])[0]
        .select("line", "usage_key_id", *SHARES)
        .sort("line", descending=True, maintain_order=True)
    )
    rows = [*used.iter_rows(), (IDLE, 0, *allocated.idle.parts())]
    lines = [AllocatedLine(*row[:-3], *map(amount_of, row[-3:])) for row in rows]
    return [line for line in lines if line.line == USAGE or any(line[2:])]
