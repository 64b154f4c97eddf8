"""Everything that follows from what is stored: allocate, rate, book cost, book revenue."""

from collections.abc import Sequence
from datetime import datetime

from ledger.flows.allocate import allocate
from ledger.flows.book_cost import book_cost
from ledger.flows.book_revenue import book_revenue
from ledger.flows.rate import rate
from ledger.flows.stage import StageReport
from ledger.store.queries import Connection


async def settle(
    connection: Connection, *, entity_id: str | None = None, now: datetime
) -> Sequence[StageReport]:
    """Run the stages for one entity, or all; each has transactions of its own."""
    return [
        await allocate(connection, entity_id=entity_id, now=now),
        await rate(connection, entity_id=entity_id, now=now),
        await book_cost(connection, entity_id=entity_id, now=now),
        await book_revenue(connection, entity_id=entity_id, now=now),
    ]
