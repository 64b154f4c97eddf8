"""Tokens by quarter hour and key as CSV; usage of a customer nobody knows has no customer_id.

Sorted by window_start and then by every column that says who and what.
"""

from collections.abc import Iterator

from ledger.exports.bundle import ExportBundle, ExportFormat
from ledger.exports.csv_text import Column, named, write_table

WHO = (
    *("customer_id", "customer_ref", "project_id", "api_key_id", "agent_id"),
    *("tier", "model", "adapter", "region"),
)
COLUMNS: tuple[Column, ...] = named(
    *("window_start", *WHO, "context_band", "requests"),
    *("input_uncached", "input_cache_read", "input_cache_write"),
    *("output_visible", "output_reasoning"),
)


def write(bundle: ExportBundle) -> Iterator[str]:
    """One line for each window and key."""
    rows = sorted(
        bundle.parts["usage"],
        key=lambda row: (
            row["window_start"],
            *(row[name] or "" for name in WHO),
            row["context_band"],
        ),
    )
    return write_table(bundle, COLUMNS, rows)


FORMAT = ExportFormat("usage", "usage", "text/csv", ".csv", write)
