"""What the period cost as CSV: attributed, idle and unattributed lines, in millijoules and money.

Sorted by scope, line, currency and then by who used it. For the house alone, never for customers.
"""

from collections.abc import Iterator

from ledger.domain.money import total
from ledger.exports.bundle import ExportBundle, ExportFormat
from ledger.exports.csv_text import Column, named, write_table

KEY = ("scope", "line", "currency", "customer_id", "customer_ref", "agent_id", "tier", "model")
PARTS = ("device_cost", "overhead_cost", "gpu_cost")


def write(bundle: ExportBundle) -> Iterator[str]:
    """One line for each scope, kind of line and user of it."""
    columns: tuple[Column, ...] = (
        ("period_start", lambda _: bundle.since),
        ("period_end", lambda _: bundle.until),
        *named("scope", "line", "customer_id", "customer_ref", "agent_id", "tier", "model"),
        *named("busy_s", "device_metered_mj", "device_estimated_mj", "host_mj", "overhead_mj"),
        *named("currency", *PARTS),
        ("cost", lambda row: total([row[name] for name in PARTS])),
    )
    rows = sorted(
        bundle.parts["costs"], key=lambda row: tuple(str(row[name] or "") for name in KEY)
    )
    return write_table(bundle, columns, rows)


FORMAT = ExportFormat("costs", "costs", "text/csv", ".csv", write)
