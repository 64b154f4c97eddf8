"""Errors of the ledger and of its database as one line for the terminal."""

import asyncpg
from pydantic import ValidationError

from ledger.domain.errors import LedgerError


def explain_failure(error: Exception) -> str | None:
    """What to print, or None where it is a defect of ours."""
    if isinstance(error, LedgerError):
        place = f" (at {error.where})" if error.where else ""
        return f"{error.wrong}{place} {error.remedy}".strip()
    if isinstance(error, ValidationError) and error.title == "Settings":
        return _settings(error)
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedFunctionError):
        return "The database has no schema, or an old one. Run `tokenledger migrate` first."
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return f"The database refused us: {error}. Look at the user and password of its URL."
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"{error}. Make it, or look at the database's URL."
    if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.InterfaceError):
        return f"The connection to the database was lost: {error}. Is the server running?"
    if isinstance(error, OSError):
        return f"{error}"
    return None


def _settings(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = "_".join(str(part) for part in first["loc"])
    return f"The setting TOKENLEDGER_{name.upper()} is wrong: {first['msg']}."
