"""Everything that follows from what is stored: allocate, rate, book cost, book revenue."""

from collections.abc import Sequence
from datetime import datetime

from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.cost.allocate import allocate
from ledger.flows.pricing.rate import rate
from ledger.flows.stage import Stage, StageReport
from ledger.store.queries import Connection

SETTLE: Sequence[Stage] = (allocate, rate, book_cost, book_revenue)


async def settle(
    connection: Connection, *, entity_id: str | None = None, now: datetime
) -> list[StageReport]:
    """Run the stages for one entity, or all; each has transactions of its own."""
    return await run_stages(connection, SETTLE, entity_id=entity_id, now=now)


async def run_stages(
    connection: Connection, stages: Sequence[Stage], *, entity_id: str | None, now: datetime
) -> list[StageReport]:
    """Run each stage, also where one before it failed; then that failure is raised."""
    done: list[StageReport] = []
    failed: Exception | None = None
    for stage in stages:
        try:
            done.append(await stage(connection, entity_id=entity_id, now=now))
        except Exception as error:
            if connection.is_closed():
                raise
            failed = failed or error
    if failed is not None:
        raise failed
    return done
