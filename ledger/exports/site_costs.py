"""What sites cost beside energy and hardware as CSV, a line for each site, day and name of a cost.

Sorted by those three; a day is a local one of its site. For the house alone, never for customers.
"""

from ledger.exports.csv_text import Column, named, table
from ledger.exports.form import ExportScope


def columns(scope: ExportScope) -> tuple[Column, ...]:
    """One line for each site, day and name."""
    return (
        ("period_start", lambda _: scope.since),
        ("period_end", lambda _: scope.until),
        *named("facility_id", "day_start", "name", "currency", "amount"),
    )


FORMAT = table("site_costs", "site_costs", columns)
