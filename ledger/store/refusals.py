"""What the database refused about slow facts, as the ledger's own errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError

# What a query says that needs lines of windows which were let go.
LinesLetGo = asyncpg.ObjectNotInPrerequisiteStateError
_FOREIGN_KEY = re.compile(r"\((?P<column>\w+)\)=\((?P<value>.*)\).*\"(?P<table>\w+)\"")


def lacks_partition(error: asyncpg.CheckViolationError) -> bool:
    """Whether a row was refused because its day has no partition."""
    # PostgreSQL names a constraint wherever one was broken; here there is none.
    return error.constraint_name is None and "no partition" in str(error)


@contextmanager
def explained() -> Iterator[None]:
    """Turn refusals of constraints into ConflictError, NotFoundError or InvalidInputError.

    Flows look before they write; what arrives here was written by somebody else in between, or
    names something that does not exist.
    """
    try:
        yield
    except asyncpg.ForeignKeyViolationError as error:
        raise _not_found(error) from error
    except asyncpg.ExclusionViolationError as error:
        raise ConflictError(
            f"A period overlaps one already recorded in {error.table_name}: {error.detail}",
            "Look at what is recorded, then enter it to supersede, or end one of the two.",
        ) from error
    except asyncpg.UniqueViolationError as error:
        raise ConflictError(
            f"It is already recorded in {error.table_name}: {error.detail}",
            "Use another id, or leave it as it is.",
        ) from error
    except (asyncpg.CheckViolationError, asyncpg.NumericValueOutOfRangeError) as error:
        raise InvalidInputError(
            f"The database refused {error.table_name or 'a value'}: {error}",
            "Send a value within its limits.",
        ) from error


def _not_found(error: asyncpg.ForeignKeyViolationError) -> NotFoundError:
    match = _FOREIGN_KEY.search(error.detail or "")
    if match is None:
        return NotFoundError(f"Something it names does not exist: {error.detail or error}")
    noun = match["table"].replace("_", " ")
    return NotFoundError(
        f"There is no {noun} {match['value']}.",
        f"Enter the {noun} first.",
        match["column"],
    )


# What PostgreSQL says of a value it was given, whoever gives it and whenever it is given again.
_OF_VALUES = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


def is_of_values(error: BaseException) -> bool:
    """Whether the database refused what it was to store, and will refuse it again.

    A day without a partition is no value's fault, though PostgreSQL calls it a violation.
    """
    no_partition = isinstance(error, asyncpg.CheckViolationError) and lacks_partition(error)
    return isinstance(error, _OF_VALUES) and not no_partition
