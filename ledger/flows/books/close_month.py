"""Closes a month of an entity, and opens it again: each a row with who, why and what it saw.

What belongs to a closed month and comes later is booked in the next that is open, by the same
stages; the database refuses anything else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from ledger.domain.author import Author, check_reason
from ledger.domain.books.close import (
    MonthChange,
    MonthState,
    State,
    check_over,
    closing,
    month_of,
    name_of,
    read_month,
    reopening,
    seal_of,
)
from ledger.domain.errors import NotFoundError
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store import parties
from ledger.store.books import months as store
from ledger.store.books.months import MonthSeal, NewState
from ledger.store.connect import draw_batch_seq, draw_cut_off
from ledger.store.memory import allow_memory
from ledger.store.queries import Connection

PURPOSE = "close"


@dataclass(frozen=True, slots=True)
class ChangedMonth:
    """A month as it is from now on, from when to when; a closed one with its lines and seal."""

    entity_id: str
    month: str
    state: str
    since: datetime
    until: datetime
    lines: int | None = None
    seal: str | None = None


# Which change is meant, by what months are and the first that has entries.
Judge = Callable[[Sequence[MonthState], date | None], MonthChange]


async def close_month(
    connection: Connection,
    *,
    entity_id: str,
    month: str,
    soft: bool = False,
    now: datetime,
    author: Author,
) -> ChangedMonth:
    """Close a month, as 2026-08, of an entity; ConflictError where it is not its turn.

    Soft, finance still books in it by hand, with a reason, and every stage as ever.
    """
    asked, zone_name = read_month(month), await _zone_of(connection, entity_id)

    def judge(states: Sequence[MonthState], first: date | None) -> MonthChange:
        change = closing(asked, states, soft=soft, first=first, zone_name=zone_name)
        check_over(change, now)
        return change

    return await _change(connection, entity_id, zone_name, judge, now, author)


async def reopen_month(
    connection: Connection, *, entity_id: str, month: str, now: datetime, author: Author
) -> ChangedMonth:
    """Open a month again for the author's reason; ConflictError where one after it is closed."""
    check_reason(author)
    asked, zone_name = read_month(month), await _zone_of(connection, entity_id)

    def judge(states: Sequence[MonthState], _: date | None) -> MonthChange:
        return reopening(asked, states, zone_name=zone_name)

    return await _change(connection, entity_id, zone_name, judge, now, author)


async def _zone_of(connection: Connection, entity_id: str) -> str:
    entity = await parties.find_entity(connection, entity_id)
    if entity is None:
        raise NotFoundError(f"There is no entity {entity_id}.", "List them to see their ids.")
    return entity.zone


async def _change(
    connection: Connection,
    entity_id: str,
    zone_name: str,
    judge: Judge,
    now: datetime,
    author: Author,
) -> ChangedMonth:
    async with writing(connection):
        # Before the lock: who books has drawn its cut-off before it waits for this one.
        cut_off = await draw_cut_off(connection, PURPOSE)
        await store.lock_months(connection, entity_id)
        states = await store.list_states(connection, entity_id)
        first = await store.find_first_booked(connection, entity_id)
        change = judge(states, month_of(first, zone_name) if first is not None else None)
        sealed = await _seal(connection, entity_id, change, states)
        batch_seq = await draw_batch_seq(connection)
        new = NewState(entity_id, change, now, sealed, accepted={})
        await store.insert_state(connection, new, author, cut_off=cut_off, batch_seq=batch_seq)
        await keep_write(
            connection,
            author,
            batch_seq=batch_seq,
            action="change month",
            subject=f"{entity_id} / {name_of(change.month)}",
            detail={"state": change.state.value},
        )
    return _changed(entity_id, change, sealed)


async def _seal(
    connection: Connection, entity_id: str, change: MonthChange, states: Sequence[MonthState]
) -> MonthSeal | None:
    if change.state is not State.CLOSED:
        return None
    await allow_memory(connection)
    lines = await store.digest_month(connection, entity_id, change.period)
    return MonthSeal(lines, *seal_of(entity_id, change.month, states, lines))


def _changed(entity_id: str, change: MonthChange, sealed: MonthSeal | None) -> ChangedMonth:
    return ChangedMonth(
        entity_id=entity_id,
        month=name_of(change.month),
        state=change.state.value,
        since=change.period.start,
        until=change.period.end,
        lines=sealed.lines.lines if sealed else None,
        seal=sealed.seal.hex() if sealed else None,
    )
