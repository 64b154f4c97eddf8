"""Months of entities that close: what became of each, and the digest of what the journal says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.author import Author
from ledger.domain.books.close import JournalDigest, MonthChange, MonthState
from ledger.domain.period import Period
from ledger.store.connect import CutOff
from ledger.store.queries import Connection, Reader, load_queries

MONTHS = load_queries("books/months")


@dataclass(frozen=True, slots=True)
class MonthSeal:
    """What a closed month is sealed with."""

    lines: JournalDigest
    previous: bytes
    seal: bytes


@dataclass(frozen=True, slots=True)
class NewState:
    """A change of a month as it is kept: `accepted` says what was not done, and why."""

    entity_id: str
    change: MonthChange
    changed_at: datetime
    sealed: MonthSeal | None
    accepted: Mapping[str, str]


async def lock_months(connection: Connection, entity_id: str) -> None:
    """Wait for whoever books entries of the entity; held until the transaction ends."""
    await MONTHS["lock_months"].rows(connection, entity_id=entity_id)


async def list_states(connection: Reader, entity_id: str) -> list[MonthState]:
    """What each month of an entity is that was ever changed, in order."""
    return await MONTHS["list_states"].values(connection, MonthState, entity_id=entity_id)


async def find_first_booked(connection: Connection, entity_id: str) -> datetime | None:
    """When the first entry of an entity is booked for, or None."""
    first: datetime | None = await MONTHS["find_first_booked"].value(
        connection, entity_id=entity_id
    )
    return first


async def digest_month(connection: Connection, entity_id: str, period: Period) -> JournalDigest:
    """What the journal says of a month."""
    (digest,) = await MONTHS["digest_month"].values(
        connection, JournalDigest, entity_id=entity_id, since=period.start, until=period.end
    )
    return digest


async def insert_state(
    connection: Connection, new: NewState, author: Author, *, cut_off: CutOff, batch_seq: int
) -> None:
    """Keep a change of a month."""
    change, sealed = new.change, new.sealed
    await MONTHS["insert_state"].run(
        connection,
        entity_id=new.entity_id,
        month=change.month,
        change_no=change.change_no,
        state=change.state.value,
        since=change.period.start,
        until=change.period.end,
        accepted=dict(new.accepted),
        reason=author.reason,
        actor=author.actor,
        request_id=author.request_id,
        changed_at=new.changed_at,
        cut_off_id=cut_off.cut_off_id,
        batch_seq=batch_seq,
        until_entry_id=sealed.lines.until_entry_id if sealed else None,
        lines=sealed.lines.lines if sealed else None,
        lines_digest=sealed.lines.digest if sealed else None,
        previous=sealed.previous if sealed else None,
        seal=sealed.seal if sealed else None,
    )
