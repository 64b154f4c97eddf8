"""Which schema a database has, and which this version of the program was written for."""

from functools import cache
from importlib.resources import files

from ledger.domain.errors import ConflictError
from ledger.store.queries import Connection, load_queries

SCHEMA = load_queries("schema")
# YYYYMMDD_NNNN, then what it is about.
REVISION_CHARS = 13


@cache
def known_revisions() -> tuple[str, ...]:
    """Every migration of this version, oldest first; the last is the schema it needs."""
    names = [path.name for path in (files("migrations") / "versions").iterdir()]
    return tuple(sorted(name[:REVISION_CHARS] for name in names if name[:1].isdigit()))


async def find_revision(connection: Connection) -> str:
    """The migration a database stands at; UndefinedTableError where it has no schema."""
    return str(await SCHEMA["find_revision"].value(connection))


async def check_schema(connection: Connection) -> None:
    """ConflictError where the database has another schema than this version was written for.

    UndefinedTableError where it has none.
    """
    stands = await find_revision(connection)
    check_revision(stands, "The database")
    needed = known_revisions()[-1]
    if stands != needed:
        raise ConflictError(
            f"The database has the schema {stands}, and this version needs {needed}.",
            "Stop other processes and run `tokenledger migrate`.",
        )


def check_revision(revision: str, where: str) -> None:
    """ConflictError where a schema is not one that this version knows."""
    if revision not in known_revisions():
        raise ConflictError(
            f"{where} has the schema {revision}, which is newer than this version"
            f" ({known_revisions()[-1]}).",
            "Upgrade tokenledger on this host.",
        )
