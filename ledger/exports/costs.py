"""What the period cost as CSV: attributed, idle and unattributed lines, in millijoules and money.

Sorted by scope, line, currency and then by who used it. For the house alone, never for customers.
"""

from decimal import Decimal

from ledger.domain.cost.cost_sum import CostSum
from ledger.domain.money import total
from ledger.exports.csv_text import Column, named, table
from ledger.exports.form import ExportScope


def columns(scope: ExportScope) -> tuple[Column, ...]:
    """One line for each scope, kind of line and user of it."""
    return (
        ("period_start", lambda _: scope.since),
        ("period_end", lambda _: scope.until),
        *named("scope", "line", "customer_id", "customer_ref", "agent_id", "tier", "model"),
        *named("busy_s", "device_metered_mj", "device_estimated_mj", "host_mj", "overhead_mj"),
        *named("currency", "device_cost", "overhead_cost", "gpu_cost"),
        ("cost", _cost),
    )


def _cost(sums: CostSum) -> Decimal:
    return total([sums.device_cost, sums.overhead_cost, sums.gpu_cost])


FORMAT = table("costs", "costs", columns)
