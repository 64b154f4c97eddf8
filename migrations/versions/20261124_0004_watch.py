"""Tables changed without holding up writers, frozen sessions ended, sums, and how stages stand."""

from migrations.script import run_sql

revision = "20261124_0004"
down_revision = "20261124_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql("watch")
    run_sql("standing")
