"""The first floor plan: clock, parties, cost inputs, prices, ingest, derived, books, access."""

from migrations.script import run_sql

revision = "20261123_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for room in (
        "locks",
        "clock",
        "parties",
        "tax",
        "cost_inputs",
        "prices",
        "bounds",
        "ingest",
        "derived",
        "books",
        "close",
        "credit",
        "receivables",
        "budgets",
        "notices",
        "identity",
        "access",
    ):
        run_sql(room)
