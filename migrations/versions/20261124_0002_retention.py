"""Folding of delta rows, closing of days, and facts moved to files."""

from migrations.script import run_sql

revision = "20261124_0002"
down_revision = "20261123_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql("retention")
    run_sql("sums")
    run_sql("merge")
