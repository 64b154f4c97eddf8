"""Months of entities that close: what became of each, and the digest of what the journal says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

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
    """A change of a month as it is kept: `accepted` says how much was not done of what."""

    entity_id: str
    change: MonthChange
    changed_at: datetime
    sealed: MonthSeal | None
    accepted: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class KeptChange:
    """A change of a month as it was kept: who made it, when and why."""

    entity_id: str
    month: str
    change_no: int
    state: str
    changed_at: datetime
    actor: str
    reason: str
    accepted: Mapping[str, int]
    lines: int | None
    seal: str | None


@dataclass(frozen=True, slots=True)
class Unbilled:
    """A subscription with charges that no invoice bills, from which day on, and its periods."""

    subscription_id: str
    first_day: datetime
    anchor_day: int
    zone: str


@dataclass(frozen=True, slots=True)
class Unallocated:
    """What stands on the account of what nothing explains."""

    currency: str
    amount: Decimal


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


async def list_changes(connection: Reader, entity_id: str | None) -> list[KeptChange]:
    """Every change of months of an entity, or of all, in order."""
    return await MONTHS["list_changes"].values(connection, KeptChange, entity_id=entity_id)


async def find_stages_behind(
    connection: Connection, entity_id: str, period: Period, ran_to: Mapping[str, int]
) -> list[str]:
    """Which stages have something of a period to do, each of which ran to a place in the order."""
    rows = await MONTHS["find_stages_behind"].rows(
        connection,
        entity_id=entity_id,
        since=period.start,
        until=period.end,
        **{f"{stage}_seq": batch_seq for stage, batch_seq in ran_to.items()},
    )
    return [row["stage"] for row in rows]


async def count_unpriced(connection: Connection, entity_id: str, period: Period) -> int:
    """How many kinds of usage of a period wait for a price."""
    given = {"entity_id": entity_id, "since": period.start, "until": period.end}
    return int(await MONTHS["count_unpriced"].value(connection, **given))


async def list_unbilled(connection: Connection, entity_id: str, period: Period) -> list[Unbilled]:
    """Subscriptions with charges of a period that no invoice bills."""
    given = {"entity_id": entity_id, "since": period.start, "until": period.end}
    return await MONTHS["list_unbilled"].values(connection, Unbilled, **given)


async def count_bank_entries(connection: Connection, entity_id: str, before: date) -> int:
    """Entries of banks before a day that wait for a person."""
    given = {"entity_id": entity_id, "before": before}
    return int(await MONTHS["count_bank_entries"].value(connection, **given))


async def list_unallocated(
    connection: Connection, entity_id: str, until: datetime
) -> list[Unallocated]:
    """What stands on account 5900 before a moment, by currency."""
    return await MONTHS["list_unallocated"].values(
        connection, Unallocated, entity_id=entity_id, until=until
    )


async def find_closed_until(connection: Connection, entity_id: str) -> datetime | None:
    """The end of the last closed month of an entity, or None."""
    until: datetime | None = await MONTHS["find_closed_until"].value(
        connection, entity_id=entity_id
    )
    return until


async def find_closed_before(connection: Connection, entity_id: str) -> date | None:
    """The first day of an entity that is not closed, or None where all are open."""
    day: date | None = await MONTHS["find_closed_before"].value(connection, entity_id=entity_id)
    return day


async def find_state(connection: Connection, entity_id: str, day: date) -> str | None:
    """What the month of a day is; None where nobody ever changed it."""
    state: str | None = await MONTHS["find_state"].value(connection, entity_id=entity_id, day=day)
    return state


async def list_closed_until(connection: Connection, since: datetime) -> dict[str, datetime]:
    """Until when the books of entities are closed, of those that are beyond a moment."""
    rows = await MONTHS["list_closed_until"].rows(connection, since=since)
    return {row["entity_id"]: row["until"] for row in rows}
