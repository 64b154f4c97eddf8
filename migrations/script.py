"""Runs a whole SQL file inside a migration: hand-written SQL, one file per room."""

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

SQL_FOLDER = Path(__file__).parent / "sql"


def run_sql(name: str) -> None:
    """Execute `migrations/sql/NAME.sql` in the migration's own transaction.

    The driver's simple protocol takes many statements; SQLAlchemy's prepared path takes one.
    """
    connection = op.get_bind()
    connection.exec_driver_sql("SELECT 1")  # opens the transaction the script belongs to
    driver = connection.connection.driver_connection
    assert driver is not None
    await_only(driver.execute((SQL_FOLDER / f"{name}.sql").read_text()))
