"""Records what customers hold in advance, and when they are to hold more."""

from dataclasses import fields
from decimal import Decimal

from ledger.domain.author import Author
from ledger.domain.books.booking import granted
from ledger.domain.books.journal import JournalEntry
from ledger.domain.entity import LegalEntity
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.domain.money import check_currency, minor_digits, plain, scale_of
from ledger.domain.period import midnight
from ledger.flows.reference.closed_months import check_open
from ledger.flows.reference.sold_in import check_sold_in
from ledger.flows.reference.supersede import keep_write, write_dated, writing
from ledger.store import parties
from ledger.store.billing import grants as store
from ledger.store.billing.grants import RULE_ROWS, EnteredGrant
from ledger.store.billing.receivables import lock_receivables
from ledger.store.books.journal import book_entries
from ledger.store.connect import draw_batch_seq, draw_cut_off
from ledger.store.pricing.rating import list_entities
from ledger.store.queries import Connection
from ledger.wire.credit_inputs import NewGrant, NewTopUpRule


async def enter_grant(connection: Connection, new: NewGrant, author: Author) -> str:
    """Record a grant and book what was paid for it; returns its id. The same again writes nothing.

    ConflictError where the id has other content, or its top-up order came to another grant.
    """
    said = new.model_dump() | {"starts_on": new.starts_on or new.granted_on}
    for scope in ("meters", "models"):
        said[scope] = tuple(sorted(set(said[scope])))
    grant = EnteredGrant(**said)
    _check_amount(grant.amount, grant.currency)
    async with writing(connection):
        entity = await _entity(connection, grant)
        await check_sold_in(connection, grant.entity_id, grant.currency)
        await lock_receivables(connection, grant.entity_id)
        known = await store.find_grant(
            connection, entity_id=grant.entity_id, grant_id=grant.grant_id
        )
        if known is None:
            if grant.kind == "prepaid":
                paid_on = grant.granted_on
                await check_open(connection, author, grant.entity_id, paid_on, field="granted_on")
            await _check_order(connection, grant)
            await _record(connection, entity, grant, author)
        elif known != grant:
            field = _first_other(known, grant)
            raise ConflictError(
                f"The grant {grant.grant_id} is already recorded with {field}"
                f" {getattr(known, field)}.",
                "Use another id: what is granted stays.",
                field,
            )
    return grant.grant_id


async def _record(
    connection: Connection, entity: LegalEntity, grant: EnteredGrant, author: Author
) -> None:
    cut_off = await draw_cut_off(connection, "grant")
    batch_seq = await draw_batch_seq(connection)
    await store.insert_grant(connection, grant, batch_seq=batch_seq)
    if grant.kind == "prepaid":
        entry = JournalEntry(
            entity_id=grant.entity_id,
            kind="grant",
            natural_key=f"grant:{grant.entity_id}:{grant.grant_id}",
            booked_for=midnight(grant.granted_on, entity.zone),
            description=f"Grant {grant.grant_id}",
            postings=granted(grant.customer_id, grant.amount, grant.currency),
            customer_id=grant.customer_id,
        )
        await book_entries(connection, [entry], cut_off, batch_seq)
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action="enter grant",
        subject=grant.grant_id,
        detail={"entity_id": grant.entity_id, "amount": grant.amount, "kind": grant.kind},
    )


async def enter_top_up_rule(
    connection: Connection, new: NewTopUpRule, author: Author, *, replace: bool = False
) -> str:
    """Record when a customer's balance is low and what is ordered then; returns the customer."""
    for amount in filter(None, (new.low_balance, new.top_up_amount)):
        _check_amount(amount, new.currency)
    async with writing(connection):
        customer = await parties.find_customer(connection, new.customer_id)
        if customer is None:
            raise NotFoundError(f"There is no customer {new.customer_id}.", "Enter it first.")
        await check_sold_in(connection, customer.entity_id, new.currency)
        values = new.model_dump(exclude={"valid_from", "valid_to"})
        written = await write_dated(connection, RULE_ROWS, values, valid=new, replace=replace)
        if written.batch_seq is not None:
            await keep_write(
                connection,
                author,
                batch_seq=written.batch_seq,
                action="enter top-up rule",
                subject=new.customer_id,
                detail=new.model_dump(),
            )
    return new.customer_id


async def _entity(connection: Connection, grant: EnteredGrant) -> LegalEntity:
    customer = await parties.find_customer(connection, grant.customer_id)
    if customer is None or customer.entity_id != grant.entity_id:
        raise NotFoundError(
            f"There is no customer {grant.customer_id} of entity {grant.entity_id}.",
            "Look them up with `tokenledger list customers`.",
            "customer_id",
        )
    (entity,) = await list_entities(connection, entity_id=grant.entity_id)
    return entity


async def _check_order(connection: Connection, grant: EnteredGrant) -> None:
    if grant.order_id is None:
        return
    order = await store.find_order(connection, entity_id=grant.entity_id, order_id=grant.order_id)
    mine = (grant.customer_id, grant.currency)
    if order is None or (order.customer_id, order.currency) != mine:
        raise NotFoundError(
            f"{grant.customer_id} has no top-up order {grant.order_id} in {grant.currency}.",
            "Look it up with `tokenledger list credit-events`.",
            "order_id",
        )
    if order.grant_id is not None:
        raise ConflictError(
            f"The top-up order {grant.order_id} came to the grant {order.grant_id} already.",
            "An order is paid once.",
            "order_id",
        )


def _check_amount(amount: Decimal, currency: str) -> None:
    check_currency(currency)
    if scale_of(amount) > minor_digits(currency):
        raise InvalidInputError(
            f"{plain(amount)} {currency} is finer than its minor unit.",
            "Send what was agreed.",
            "amount",
        )


def _first_other(known: EnteredGrant, offered: EnteredGrant) -> str:
    names = [each.name for each in fields(EnteredGrant)]
    return next(name for name in names if getattr(known, name) != getattr(offered, name))
