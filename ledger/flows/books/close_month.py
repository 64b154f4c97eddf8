"""Closes a month of an entity, and opens it again: each a row with who, why and what it saw.

What belongs to a closed month and comes later is booked in the next that is open, by the same
stages; the database refuses anything else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from ledger.domain.author import Author, check_reason
from ledger.domain.books.close import (
    Matter,
    MonthChange,
    MonthState,
    State,
    check_done,
    check_over,
    closing,
    month_of,
    month_period,
    name_of,
    next_month,
    read_month,
    reopening,
    seal_of,
)
from ledger.domain.entity import LegalEntity
from ledger.domain.errors import NotFoundError
from ledger.flows.books.closing_matters import list_matters
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store import parties
from ledger.store.books import months as store
from ledger.store.books.months import KeptChange, MonthSeal, NewState
from ledger.store.connect import CutOff, draw_batch_seq, draw_cut_off
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
    accept: Sequence[str] = (),
    now: datetime,
    author: Author,
) -> ChangedMonth:
    """Close a month, as 2026-08, of an entity; ConflictError where it is not its turn, or names
    what is to be done before and nobody accepts for the author's reason.

    Soft, finance still books in it by hand, with a reason, and every stage as ever.
    """
    asked, entity = read_month(month), await _find_entity(connection, entity_id)
    if accept:
        check_reason(author)

    def judge(states: Sequence[MonthState], first: date | None) -> MonthChange:
        change = closing(asked, states, soft=soft, first=first, zone_name=entity.zone)
        check_over(change, now)
        return change

    ask = _Ask(entity, judge, now, author, () if soft else accept, checked=not soft)
    return await _change(connection, ask)


async def reopen_month(
    connection: Connection, *, entity_id: str, month: str, now: datetime, author: Author
) -> ChangedMonth:
    """Open a month again for the author's reason; ConflictError where one after it is closed."""
    check_reason(author)
    asked, entity = read_month(month), await _find_entity(connection, entity_id)

    def judge(states: Sequence[MonthState], _: date | None) -> MonthChange:
        return reopening(asked, states, zone_name=entity.zone)

    return await _change(connection, _Ask(entity, judge, now, author))


@dataclass(frozen=True, slots=True)
class MonthsAsTheyAre:
    """Every change of an entity's months, which closes next (None: none is over), and what is to
    be done before."""

    entity_id: str
    changes: Sequence[KeptChange]
    next: str | None
    matters: Sequence[Matter]


async def read_months(connection: Connection, *, entity_id: str, now: datetime) -> MonthsAsTheyAre:
    """How months of an entity stand; NotFoundError where there is no such entity."""
    entity = await _find_entity(connection, entity_id)
    async with connection.transaction():
        cut_off = await draw_cut_off(connection, PURPOSE)
        changes = await store.list_changes(connection, entity_id)
        states = await store.list_states(connection, entity_id)
        due = next_month(states, await _first_month(connection, entity))
        if due is None or month_period(due, entity.zone).end > now:
            return MonthsAsTheyAre(entity_id, changes, None, ())
        period = month_period(due, entity.zone)
        matters = await list_matters(connection, entity, due, period, cut_off)
    return MonthsAsTheyAre(entity_id, changes, name_of(due), matters)


async def _find_entity(connection: Connection, entity_id: str) -> LegalEntity:
    entity = await parties.find_entity(connection, entity_id)
    if entity is None:
        raise NotFoundError(f"There is no entity {entity_id}.", "List them to see their ids.")
    return LegalEntity(entity.entity_id, entity.currency, entity.zone)


async def _first_month(connection: Connection, entity: LegalEntity) -> date | None:
    first = await store.find_first_booked(connection, entity.entity_id)
    return month_of(first, entity.zone) if first is not None else None


@dataclass(frozen=True, slots=True)
class _Ask:
    """Whose month is to change, how that is judged, who says so, and what they accept undone."""

    entity: LegalEntity
    judge: Judge
    now: datetime
    author: Author
    accept: Sequence[str] = ()
    checked: bool = False


async def _change(connection: Connection, ask: _Ask) -> ChangedMonth:
    entity, author = ask.entity, ask.author
    async with writing(connection):
        # Before the lock: who books has drawn its cut-off before it waits for this one.
        cut_off = await draw_cut_off(connection, PURPOSE)
        await store.lock_months(connection, entity.entity_id)
        states = await store.list_states(connection, entity.entity_id)
        change = ask.judge(states, await _first_month(connection, entity))
        accepted = await _accepted(connection, ask, change, cut_off) if ask.checked else {}
        sealed = await _seal(connection, entity.entity_id, change, states)
        new = NewState(entity.entity_id, change, ask.now, sealed, accepted)
        batch_seq = await draw_batch_seq(connection)
        await store.insert_state(connection, new, author, cut_off=cut_off, batch_seq=batch_seq)
        await keep_write(
            connection,
            author,
            batch_seq=batch_seq,
            action="change month",
            subject=f"{entity.entity_id} / {name_of(change.month)}",
            detail={"state": change.state.value, "accepted": accepted},
        )
    return _changed(entity.entity_id, change, sealed)


async def _accepted(
    connection: Connection, ask: _Ask, change: MonthChange, cut_off: CutOff
) -> dict[str, int]:
    """How much of what is left to do is accepted."""
    matters = await list_matters(connection, ask.entity, change.month, change.period, cut_off)
    return check_done(matters, ask.accept)


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
