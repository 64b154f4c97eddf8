"""The schema is what its snapshot says: no change of it goes unseen, none by accident."""

from pathlib import Path

from ledger.store.queries import Connection
from tests.architecture.documents import is_wanted

GOLDEN = Path(__file__).parents[1] / "golden" / "schema" / "schema.txt"
QUERY = Path(__file__).with_suffix(".sql").with_name("schema_snapshot.sql")


async def snapshot(connection: Connection) -> str:
    rows = await connection.fetch(QUERY.read_text())
    return "".join(f"{' '.join(row['line'].split())}\n" for row in rows)


async def test_golden_schema_is_what_migrations_make(worker: Connection) -> None:
    said = await snapshot(worker)
    assert {line.partition(" ")[0] for line in said.splitlines()} >= {"table", "policy", "function"}
    assert is_wanted(GOLDEN, said), "`make golden` writes it: read the difference before you commit"


async def test_a_change_of_the_schema_is_seen(owner: Connection) -> None:
    before = await snapshot(owner)
    await owner.execute("ALTER TABLE source ADD COLUMN more int")
    assert await snapshot(owner) != before
