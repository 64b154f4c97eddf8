"""Writes letters about what is overdue: each invoice once at each level, a letter a customer.

The stage looks once a day of the entity, and when its policy changes; a person may at any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial

from ledger.documents.letter import render_letter
from ledger.domain.author import Author
from ledger.domain.billing.dunning import Reminder, by_letter, due_reminders
from ledger.domain.errors import LedgerError, MissingInputError, NotFoundError
from ledger.domain.money import total
from ledger.domain.parked import Part
from ledger.domain.period import DAY, day_of, midnight, zone
from ledger.flows.parts import Due
from ledger.flows.reference.supersede import keep_write, writing
from ledger.flows.stage import Stage, StageContext
from ledger.store import parties
from ledger.store.billing import dunning as store
from ledger.store.billing.dunning import LetterHead
from ledger.store.billing.invoice import list_invoices
from ledger.store.billing.receivables import list_open_items, lock_receivables
from ledger.store.connect import draw_batch_seq
from ledger.store.parties import Entity
from ledger.store.pricing.rating import list_entities
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class WrittenLetter:
    """A letter: to whom, about how much, at its highest level, and which invoices it names."""

    letter_id: int
    customer_id: str
    currency: str
    level: int
    open: Decimal
    invoices: Sequence[str]


@dataclass(frozen=True, slots=True)
class DunningRun:
    """The letters of a run, and why those of other customers could not be written."""

    today: date
    letters: Sequence[WrittenLetter]
    refused: Sequence[str]


async def run_dunning(
    connection: Connection, *, entity_id: str, now: datetime, author: Author
) -> DunningRun:
    """Write the letters that are due today in the entity's zone, each in a transaction of its own.

    Run again it writes what is missing. NotFoundError where there is no such entity,
    MissingInputError where it has no policy.
    """
    entity = await parties.find_entity(connection, entity_id)
    if entity is None:
        raise NotFoundError(f"There is no entity {entity_id}.", "List them to see their ids.")
    days = await store.find_reminder_days(connection, entity_id, at=now)
    if not days:
        raise MissingInputError(
            f"{entity_id} has said nothing of when it reminds customers.",
            "Enter it: tokenledger import dunning-policies.",
        )
    today = now.astimezone(zone(entity.zone)).date()
    due = await _due(connection, entity_id, days, today)
    letters: list[WrittenLetter] = []
    refused: list[str] = []
    for customer_id in sorted({customer_id for customer_id, _ in by_letter(due)}):
        try:
            async with writing(connection):
                letters += await _write(connection, entity, customer_id, days, today, author)
        except LedgerError as error:
            refused.append(f"{customer_id}: {error.wrong}")
    return DunningRun(today, letters, refused)


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    connection, entity = context.connection, context.entity
    today = day_of(context.now, entity.zone)
    days = await store.find_reminder_days(connection, entity.entity_id, at=context.now)
    customers = {customer_id for customer_id, _ in again}
    if days and await _is_to_look(context, today):
        due = await _due(connection, entity.entity_id, days, today)
        customers |= {each.item.customer_id for each in due}
    at = midnight(today, entity.zone)
    parts = [(customer_id, at) for customer_id in sorted(customers)]
    return Due(parts, partial(_remind, context, days))


async def _is_to_look(context: StageContext, today: date) -> bool:
    followed = context.last.followed_to
    if followed is None or day_of(followed, context.entity.zone) < today:
        return True
    return await store.has_new_policy(
        context.connection, context.entity.entity_id, since_seq=context.last.batch_seq
    )


async def _remind(context: StageContext, days: Sequence[int], parts: Sequence[Part]) -> int:
    connection, today = context.connection, day_of(context.now, context.entity.zone)
    entity = await parties.find_entity(connection, context.entity.entity_id)
    assert entity is not None, "a stage runs for those that are there"
    letters = 0
    for customer_id, _ in parts:
        async with writing(connection):
            letters += len(await _write(connection, entity, customer_id, days, today))
    return letters


# An invoice is overdue by time alone. A letter is rendered in the transaction of its customer.
dun = Stage(
    name="dun",
    step=DAY,
    chunk_parts=1,
    list_entities=list_entities,
    find=_find,
    follows_clock=True,
)


async def _due(
    connection: Connection,
    entity_id: str,
    days: Sequence[int],
    today: date,
    customer_id: str | None = None,
) -> list[Reminder]:
    items = await list_open_items(connection, entity_id=entity_id, customer_id=customer_id)
    last = await store.list_last_reminders(connection, entity_id, customer_id)
    return due_reminders(items, last, days, today)


async def _write(
    connection: Connection,
    entity: Entity,
    customer_id: str,
    days: Sequence[int],
    today: date,
    author: Author | None = None,
) -> list[WrittenLetter]:
    """The letters of a customer, by what is open now that nobody else pays or credits; of an
    author, where somebody asked for them."""
    await lock_receivables(connection, entity.entity_id)
    due = await _due(connection, entity.entity_id, days, today, customer_id)
    written = []
    for (_, currency), reminders in by_letter(due).items():
        head = LetterHead(
            entity_id=entity.entity_id,
            customer_id=customer_id,
            currency=currency,
            level=max(each.level for each in reminders),
            written_on=today,
        )
        is_last = head.level == len(days)
        content = await _render(connection, entity, head, reminders, is_last=is_last)
        batch_seq = await draw_batch_seq(connection)
        letter_id = await store.insert_letter(
            connection, head, reminders, content, batch_seq=batch_seq
        )
        if author is not None:
            await keep_write(
                connection,
                author,
                batch_seq=batch_seq,
                action="write dunning letter",
                subject=str(letter_id),
                detail={"customer_id": customer_id, "level": head.level},
            )
        written.append(_written(letter_id, head, reminders))
    return written


async def _render(
    connection: Connection,
    entity: Entity,
    head: LetterHead,
    reminders: Sequence[Reminder],
    *,
    is_last: bool,
) -> bytes:
    newest = max(each.item.invoice_id for each in reminders)
    (invoice,) = await list_invoices(connection, invoice_id=newest, limit=1)
    customer = await parties.find_customer(connection, head.customer_id)
    assert customer is not None, "whom an invoice was issued to is there"
    return render_letter(
        invoice,
        reminders,
        level=head.level,
        is_last=is_last,
        today=head.written_on,
        is_test=entity.is_test or customer.is_test,
        logo=await parties.find_logo(connection, entity.entity_id),
    )


def _written(letter_id: int, head: LetterHead, reminders: Sequence[Reminder]) -> WrittenLetter:
    return WrittenLetter(
        letter_id=letter_id,
        customer_id=head.customer_id,
        currency=head.currency,
        level=head.level,
        open=total([each.item.open for each in reminders]),
        invoices=[each.item.number for each in reminders],
    )
