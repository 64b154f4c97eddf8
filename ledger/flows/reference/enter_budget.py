"""Enters budgets: what may be used in a period, dated like all that people enter."""

from dataclasses import asdict

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, NotFoundError
from ledger.flows.reference.count_entered import count_entered
from ledger.flows.reference.sold_in import check_sold_in
from ledger.flows.reference.supersede import keep_write, write_dated, writing
from ledger.store import parties
from ledger.store.billing.budgets import (
    BUDGET_ROWS,
    BudgetScope,
    enter_balances,
    find_budget_scope,
)
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewBudget


async def enter_budget(
    connection: Connection, new: NewBudget, author: Author, *, replace: bool = False
) -> str:
    """Record a budget; returns its id. What was used of its last periods before counts as well.

    ConflictError where the id is already of something else, or counted in another way.
    """
    async with writing(connection):
        values = await _values(connection, new)
        await _check_scope(connection, new.budget_id, values)
        written = await write_dated(connection, BUDGET_ROWS, values, valid=new, replace=replace)
        if written.batch_seq is not None:
            await keep_write(
                connection,
                author,
                batch_seq=written.batch_seq,
                action="enter budget",
                subject=new.budget_id,
                detail=new.model_dump(),
            )
            if new.period != "run" and new.agent_run_id is None:
                await enter_balances(connection, new.budget_id, batch_seq=written.batch_seq)
    await count_entered(connection)
    return new.budget_id


async def _values(connection: Connection, new: NewBudget) -> dict[str, object]:
    customer = await parties.find_customer(connection, new.customer_id)
    if customer is None:
        raise NotFoundError(f"There is no customer {new.customer_id}.", "Enter it first.")
    entity = await parties.find_entity(connection, customer.entity_id)
    assert entity is not None
    said = new.model_dump(exclude={"valid_from", "valid_to"})
    currency = new.currency or entity.currency
    if new.unit == "money":
        await check_sold_in(connection, entity.entity_id, currency)
    return said | {
        "zone": new.zone or entity.zone,
        "currency": currency if new.unit == "money" else None,
        "alert_percents": sorted(set(new.alert_percents)),
    }


async def _check_scope(connection: Connection, budget_id: str, values: dict[str, object]) -> None:
    known = await find_budget_scope(connection, budget_id)
    offered = {name: values[name] for name in BudgetScope.__dataclass_fields__}
    if known is None or asdict(known) == offered:
        return
    other = next(name for name, value in asdict(known).items() if offered[name] != value)
    raise ConflictError(
        f"Budget {budget_id} is already recorded with {other} {getattr(known, other)}.",
        "Use another id: what a budget counts stays.",
        other,
    )
