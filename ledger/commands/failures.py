"""Errors of the ledger and of its database as one line for the terminal."""

import tomllib
import traceback

import asyncpg
from pydantic import ValidationError

from ledger.domain.errors import LedgerError

_LOST = "The connection to the database was lost: {}. Is the server running?"
_DATABASE: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError),
        "The database has no schema, or an old one. Run `tokenledger migrate` first.",
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        "The database's schema is of another version, or its URL of another role: {}. Run"
        " `tokenledger migrate`, or start `up` again.",
    ),
    (
        (asyncpg.InvalidAuthorizationSpecificationError,),
        "The database refused us: {}. Look at the user and password of its URL.",
    ),
    ((asyncpg.InvalidCatalogNameError,), "{}. Make it, or look at the database's URL."),
    # A server that stops under us ends what we do by an operator's intervention, or just closes.
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.TooManyConnectionsError,
            asyncpg.InterfaceError,
            # What is asked of a connection that was told of its end and has not ended yet.
            asyncpg.InternalClientError,
        ),
        _LOST,
    ),
    (
        (asyncpg.OutOfMemoryError,),
        "The database has no room for it: {}. Of locks it has more with max_locks_per_transaction ="
        " 512 in its settings, and needs fewer once days that are over are archived.",
    ),
    ((asyncpg.DataError,), "A value that was given is none the books can hold: {}."),
    (
        (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError),
        "Others were at the same rows: {}. Nothing of this step was written; run again.",
    ),
)


def explain_failure(error: Exception) -> str | None:
    """What to print, or None where it is a defect of ours."""
    if isinstance(error, LedgerError):
        where = f" (at {error.where})" if error.where else ""
        return f"{error.wrong}{where} {error.remedy}".strip()
    if isinstance(error, ValidationError) and error.title == "Settings":
        return _settings(error)
    for errors, what in _DATABASE:
        if isinstance(error, errors):
            return what.format(str(error).partition("\n")[0])
    if isinstance(error, tomllib.TOMLDecodeError):
        return f"The file that TOKENLEDGER_CONFIG names is not TOML: {error}."
    if isinstance(error, ConnectionError) and _is_of_database(error):
        return _LOST.format(error)
    if isinstance(error, UnicodeEncodeError | UnicodeDecodeError):
        return f"A text that was given is not UTF-8: {error.reason}. Write it in UTF-8."
    return _os_error(error) if isinstance(error, OSError) else None


def _os_error(error: OSError) -> str | None:
    if isinstance(error, BrokenPipeError):
        return None
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}."


def _is_of_database(error: Exception) -> bool:
    """Whether a broken pipe is the database's: who reads what we print may have left too."""
    frames = traceback.extract_tb(error.__traceback__)
    return any("asyncpg" in frame.filename for frame in frames)


def _settings(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = "_".join(str(part) for part in first["loc"])
    return f"The setting TOKENLEDGER_{name.upper()} is wrong: {first['msg']}."
