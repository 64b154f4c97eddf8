"""Enters whose child a customer is, and works out who is above whom."""

from ledger.domain.author import Author
from ledger.domain.billing.family import list_above
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.flows.reference.count_entered import count_entered
from ledger.flows.reference.supersede import keep_write, write_dated, writing
from ledger.store import families, parties
from ledger.store.billing.budgets import enter_again
from ledger.store.queries import Connection
from ledger.wire.party_inputs import NewParent


async def enter_parent(
    connection: Connection, new: NewParent, author: Author, *, replace: bool = False
) -> str:
    """Make a customer the child of another for a time; returns the child's id.

    Refused across entities, in circles, and where more would be above a customer than may be.
    Budgets above it count what was used while it was below them, before this was known as well.
    """
    async with writing(connection):
        child = await _find_customer(connection, new.customer_id)
        if new.parent_id is not None:
            await _check_entity(connection, child, new.parent_id)
        await families.lock_families(connection, child.entity_id)
        values = {"customer_id": new.customer_id, "parent_id": new.parent_id}
        written = await write_dated(
            connection, families.PARENTS, values, valid=new, replace=replace
        )
        if written.batch_seq is not None:
            below = await families.list_below(connection, new.customer_id)
            above = list_above(below, await families.list_parent_links(connection, below))
            await families.keep_above(connection, below, above, batch_seq=written.batch_seq)
            await enter_again(connection, below, batch_seq=written.batch_seq)
            await keep_write(
                connection,
                author,
                batch_seq=written.batch_seq,
                action="enter parent",
                subject=new.customer_id,
                detail=new.model_dump(),
            )
    await count_entered(connection)
    return new.customer_id


async def _find_customer(connection: Connection, name: str) -> parties.Customer:
    customer = await parties.find_customer(connection, name)
    if customer is None:
        raise NotFoundError(f"There is no customer {name}.", "Enter it first.")
    return customer


async def _check_entity(connection: Connection, child: parties.Customer, parent_id: str) -> None:
    parent = await _find_customer(connection, parent_id)
    if child.entity_id != parent.entity_id:
        raise InvalidInputError(
            f"Customer {child.customer_id} is billed by entity {child.entity_id}, but"
            f" {parent_id} by entity {parent.entity_id}.",
            "Use a parent of the customer's entity.",
            "parent_id",
        )
