"""Indexes that keep what is asked after every run from reading what it need not."""

from migrations.script import run_sql

revision = "20261124_0003"
down_revision = "20261124_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql("guards")
