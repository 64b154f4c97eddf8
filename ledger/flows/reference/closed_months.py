"""The one place where what people enter is held to months that are closed.

Nothing is dated inside one by hand, and what reaches into one from its validity on is entered for a
reason that somebody says: what follows from it is booked in the next open month.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time

from ledger.domain.author import Author
from ledger.domain.books.close import State
from ledger.domain.errors import ConflictError, ReasonNeededError
from ledger.store.books import months as store
from ledger.store.bound import NAMED, find_entities_named
from ledger.store.queries import Connection

# What of a kept write says from when on it holds.
STARTS = ("valid_from", "from", "first", "first_day")


async def check_open(
    connection: Connection, author: Author, entity_id: str, day: date, *, field: str
) -> None:
    """ConflictError where the books of an entity are closed for a day of its zone;
    ReasonNeededError where they are soft-closed, and nobody says why."""
    closed = await store.find_closed_before(connection, entity_id)
    if closed is not None and day < closed:
        raise ConflictError(
            f"The books of {entity_id} are closed for days before {closed}, and this is of {day}.",
            f"Date it {closed} or later, or open {day:%Y-%m} again: tokenledger close reopen.",
            field,
        )
    if (
        not author.stated
        and await store.find_state(connection, entity_id, day) == State.SOFT_CLOSED
    ):
        raise ReasonNeededError(
            f"{day:%Y-%m} of {entity_id} is being closed, and this is of {day}.",
            "Say why it is booked there: --reason, or the X-Reason header.",
            "reason",
        )


async def check_reach(connection: Connection, author: Author, said: Mapping[str, object]) -> None:
    """ReasonNeededError where what is entered holds in a closed month and nobody says why.

    `said` names what leads to an entity; what leads to none is of all.
    """
    since = _start_of(said)
    if author.stated or since is None:
        return
    closed = await store.list_closed_until(connection, since)
    if not closed:
        return
    names = {name: str(said[name]) for name in (*NAMED, "entity_id") if said.get(name) is not None}
    whose = {names[name] for name in ("entity_id",) if name in names}
    whose |= await find_entities_named(connection, {name: names.get(name) for name in NAMED})
    reached = sorted(closed.keys() & whose) if whose else sorted(closed)
    if reached:
        raise ReasonNeededError(
            f"It holds in months that {reached[0]} has closed, until {closed[reached[0]]:%F}.",
            "Say why (--reason, or the X-Reason header): its difference is booked after that.",
            "reason",
        )


def _start_of(said: Mapping[str, object]) -> datetime | None:
    for name in STARTS:
        match said.get(name):
            case datetime() as moment:
                return moment
            case date() as day:
                return datetime.combine(day, time(), UTC)
    return None
