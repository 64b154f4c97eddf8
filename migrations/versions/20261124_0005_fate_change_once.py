"""A stored item changes its fate once, archives can move, and every function knows its schema."""

from migrations.script import run_sql

revision = "20261124_0005"
down_revision = "20261124_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql("fate_change_once")
    run_sql("archive_move")
    run_sql("archive_readings")
    run_sql("seal")
    run_sql("at_cut_off")
    run_sql("vacuum")
    run_sql("function_paths")
