"""The lines of an allocated window as objects, for tests that look at a few of them."""

from decimal import Decimal
from typing import NamedTuple

from ledger.domain.apportion import amount_of
from ledger.domain.cost.allocation import WindowAllocation


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
    """Usage by key, then idle, then unattributed."""
    return [
        AllocatedLine(*row[:-3], *map(amount_of, row[-3:])) for row in allocated.lines().iter_rows()
    ]
