"""When entities write letters about what is overdue, and the letters that they wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256

from ledger.domain.billing.dunning import LastReminder, Reminder
from ledger.store.dated import DatedTable
from ledger.store.queries import Connection, load_queries

DUNNING = load_queries("billing/dunning")
POLICIES = DatedTable(
    "dunning policy",
    ("entity_id",),
    DUNNING["find_open_dunning_policies"],
    DUNNING["supersede_dunning_policies"],
    DUNNING["insert_dunning_policy"],
)


@dataclass(frozen=True, slots=True)
class LetterHead:
    """Whose letter it is, about money of which currency, and as the how manieth."""

    entity_id: str
    customer_id: str
    currency: str
    level: int
    written_on: date


async def find_reminder_days(
    connection: Connection, entity_id: str, *, at: datetime
) -> Sequence[int]:
    """After how many days overdue an entity writes; nothing where it has no policy."""
    days = await DUNNING["find_reminder_days"].value(connection, entity_id=entity_id, at=at)
    return tuple(days or ())


async def has_new_policy(connection: Connection, entity_id: str, *, since_seq: int) -> bool:
    """Whether what an entity says of reminders changed after a number of the stored order."""
    changed = await DUNNING["has_new_policy"].value(
        connection, entity_id=entity_id, since_seq=since_seq
    )
    return bool(changed)


async def list_last_reminders(
    connection: Connection, entity_id: str, customer_id: str | None = None
) -> Mapping[int, LastReminder]:
    """The last reminder of each invoice that was reminded of, by its id."""
    rows = await DUNNING["list_last_reminders"].rows(
        connection, entity_id=entity_id, customer_id=customer_id
    )
    return {row["invoice_id"]: LastReminder(row["level"], row["written_on"]) for row in rows}


async def insert_letter(
    connection: Connection,
    head: LetterHead,
    reminders: Sequence[Reminder],
    content: bytes,
    *,
    batch_seq: int,
) -> int:
    """Keep a letter as it goes out; its id."""
    return int(
        await DUNNING["insert_letter"].value(
            connection,
            entity_id=head.entity_id,
            customer_id=head.customer_id,
            currency=head.currency,
            level=head.level,
            written_on=head.written_on,
            sha256=sha256(content).digest(),
            content=content,
            batch_seq=batch_seq,
            invoice_ids=[each.item.invoice_id for each in reminders],
            levels=[each.level for each in reminders],
            open=[each.item.open for each in reminders],
        )
    )


async def find_letter(connection: Connection, letter_id: int) -> bytes | None:
    """A letter as it went out, or None."""
    content = await DUNNING["find_letter"].value(connection, letter_id=letter_id)
    return None if content is None else bytes(content)
