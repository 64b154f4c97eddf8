"""Entities and customers: what stays of them, and what may change from a day on."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from ledger.domain.author import Author
from ledger.domain.billing.account import check_account
from ledger.domain.errors import ConflictError, NotFoundError
from ledger.domain.money import check_currency
from ledger.domain.period import midnight
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store import parties
from ledger.store.connect import draw_batch_seq
from ledger.store.dated import DatedRow, DatedTable
from ledger.store.queries import Connection
from ledger.wire.changes import CustomerChange, EntityChange, PartyChange
from ledger.wire.party_inputs import NewCustomer, NewEntity

# What is entered of a new party holds for all time the books can speak of.
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of party: where its details stand, and which they are."""

    table: DatedTable
    details: tuple[str, ...]


ENTITY = _Kind(parties.ENTITY_DETAILS, EntityChange.details())
CUSTOMER = _Kind(parties.CUSTOMER_DETAILS, CustomerChange.details())
Insert = Callable[..., Awaitable[None]]
Known: TypeAlias = parties.Entity | parties.Customer


async def enter_entity(connection: Connection, new: NewEntity, author: Author) -> str:
    """Record a legal entity; returns its id."""
    check_currency(new.currency)
    check_account(new.payment_account)
    values = new.model_dump()
    values["invoice_prefix"] = new.invoice_prefix or new.entity_id.upper()
    async with writing(connection):
        known = await parties.find_entity(connection, new.entity_id)
        await _enter(connection, author, ENTITY, parties.insert_entity, known, values)
    return new.entity_id


async def enter_customer(connection: Connection, new: NewCustomer, author: Author) -> str:
    """Record a customer of an entity; returns its id."""
    if new.invoiced_in is not None:
        check_currency(new.invoiced_in)
    async with writing(connection):
        known = await parties.find_customer(connection, new.customer_id)
        await _enter(
            connection,
            author,
            CUSTOMER,
            parties.insert_customer,
            known,
            new.model_dump(),
        )
    return new.customer_id


async def change_entity(connection: Connection, change: EntityChange, author: Author) -> str:
    """Change details of an entity from a day of its zone on; returns its id."""
    check_account(change.payment_account or "")
    async with writing(connection):
        entity = await parties.find_entity(connection, change.entity_id)
        if entity is None:
            raise NotFoundError(f"There is no entity {change.entity_id}.", "Enter it first.")
        await _change(connection, author, parties.ENTITY_DETAILS, change, entity.zone)
    return change.entity_id


async def change_customer(connection: Connection, change: CustomerChange, author: Author) -> str:
    """Change details of a customer from a day of its entity's zone on; returns its id."""
    if change.invoiced_in is not None:
        check_currency(change.invoiced_in)
    async with writing(connection):
        customer = await parties.find_customer(connection, change.customer_id)
        if customer is None:
            raise NotFoundError(f"There is no customer {change.customer_id}.", "Enter it first.")
        entity = await parties.find_entity(connection, customer.entity_id)
        assert entity is not None
        await _change(connection, author, parties.CUSTOMER_DETAILS, change, entity.zone)
    return change.customer_id


async def _enter(
    connection: Connection,
    author: Author,
    kind: _Kind,
    insert: Insert,
    known: Known | None,
    values: Mapping[str, Any],
) -> None:
    table = kind.table
    (key,) = table.keys
    details = {key: values[key], **{name: values[name] for name in kind.details}}
    stays = {name: value for name, value in values.items() if name not in kind.details}
    if known is not None:
        standing = await table.find_open(connection, details, valid_from=BEGINNING, valid_to=None)
        _check_known(kind, values, known, standing)
        return
    batch_seq = await draw_batch_seq(connection)
    await insert(connection, stays, batch_seq=batch_seq)
    await table.insert(
        connection, **details, valid_from=BEGINNING, valid_to=None, batch_seq=batch_seq
    )
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action=f"enter {table.noun}",
        subject=values[key],
        detail=values,
    )


def _check_known(
    kind: _Kind,
    values: Mapping[str, object],
    known: Known,
    details: list[DatedRow],
) -> None:
    """ConflictError unless exactly this is recorded, or was before it changed."""
    (key,), noun = kind.table.keys, kind.table.noun
    recorded = asdict(known)
    stays = [name for name in recorded if recorded[name] != values[name]]
    if stays:
        said = ", ".join(f"{name} {recorded[name]!r}" for name in stays)
        raise ConflictError(
            f"The {noun} {recorded[key]} is already recorded with {said}.",
            f"Use another id: this stays of a {noun}.",
            stays[0],
        )
    changed = [[n for n in kind.details if row.values[n] != values[n]] for row in details]
    if all(changed):
        last = details[-1].values
        said = ", ".join(f"{name} {last[name]!r}" for name in changed[-1])
        raise ConflictError(
            f"The {noun} {recorded[key]} is already recorded with {said}.",
            f"Say from which day it changes: PATCH it, or `tokenledger change {noun}`.",
            changed[-1][0],
        )


async def _change(
    connection: Connection,
    author: Author,
    table: DatedTable,
    change: PartyChange,
    zone_name: str,
) -> None:
    """Set the named fields for a time, and leave the others as they are at each moment of it."""
    since = midnight(change.valid_from, zone_name)
    until = midnight(change.valid_to, zone_name) if change.valid_to is not None else None
    key = {change.key: getattr(change, change.key)}
    rows = await table.find_open(connection, key, valid_from=since, valid_to=until)
    stale = [row for row in rows if {**row.values, **change.changes} != row.values]
    if not stale:
        return
    batch_seq = await draw_batch_seq(connection)
    for row in stale:
        start = max(row.valid_from, since)
        end = min((end for end in (row.valid_to, until) if end is not None), default=None)
        await table.supersede(
            connection, row_ids=[row.row_id], valid_from=start, valid_to=end, batch_seq=batch_seq
        )
        values = {**row.values, **change.changes}
        await table.insert(
            connection, **values, valid_from=start, valid_to=end, batch_seq=batch_seq
        )
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action=f"change {table.noun}",
        subject=str(key[change.key]),
        detail={"from": since, "to": until, **change.changes},
    )
