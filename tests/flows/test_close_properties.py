"""Whatever comes late and whenever months close and open: all adds up as if none ever had.

Two factories hear the same; one of them closes months. What it said of a month while that was
closed never moves, to the byte.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.errors import ConflictError
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.books.check_books import check_books
from ledger.flows.books.close_month import close_month, reopen_month
from ledger.flows.reference.enter import enter_price
from ledger.flows.settle import settle
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import AUTHOR, subscribed
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import fresh_database
from tests.support.examples import at_depth

MONTHS = ("2023-10", "2023-11", "2023-12")
LAST = datetime(2024, 2, 2, tzinfo=UTC)
EVERYTHING = ("parked", "unpriced", "uninvoiced", "cost-gaps", "unallocated")
BUYERS = {
    "factory": Buyer(),
    "twin": Buyer(customer_id="twin", customer_ref="twin", entity_id="twin"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """Something that becomes known of both, or is done to the months of one."""

    what: str
    month: int
    day: int
    amount: int


steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(("usage", "usage", "lease", "price", "close", "close", "reopen")),
        month=st.integers(0, 2),
        day=st.sampled_from((1, 15, 30)),
        amount=st.integers(1, 9),
    ),
    min_size=4,
    max_size=9,
)


def at(step: Step) -> datetime:
    return datetime(2023, 10 + step.month, step.day, 12, tzinfo=UTC)


async def learn(books: Books, step: Step) -> None:
    connection = books.connection
    if step.what == "usage":
        for buyer in BUYERS.values():
            await books.usage(at(step), Tokens(uncached=step.amount * 1_000, output=7), buyer=buyer)
    elif step.what == "lease":
        for entity_id in BUYERS:
            asset_id = f"rack-{entity_id}"
            await books.close("asset", f"asset_id = '{asset_id}'")
            await books.lease(
                at(step),
                at(step).replace(hour=15),
                asset_id=asset_id,
                entity_id=entity_id,
                facility_id=f"site-{entity_id}",
                currency="USD",
                rate=f"{step.amount}",
            )
    elif step.what == "price":
        for customer_id in ("acme", "twin"):
            new = {
                "rate_card_id": f"card-{customer_id}",
                "meter": "input",
                "amount": str(step.amount),
                "valid_from": at(step).isoformat(),
            }
            await enter_price(connection, read_input(NewPrice, new), AUTHOR, replace=True)
    else:
        await change_month(connection, step)


async def change_month(connection: Connection, step: Step) -> None:
    """Close the next month, or open the last again; where none is, nothing happens."""
    close = partial(close_month, accept=EVERYTHING)
    change = close if step.what == "close" else reopen_month
    months = MONTHS if step.what == "close" else reversed(MONTHS)
    for month in months:
        try:
            await change(connection, entity_id="factory", month=month, now=LAST, author=AUTHOR)
        except ConflictError:
            continue
        return


async def said_of_closed(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every line of each closed month."""
    rows = await connection.fetch(
        """SELECT to_char(m.month, 'YYYY-MM') AS month, e.booked_for, e.corrects, e.natural_key,
                  e.revision, p.line_no, p.account, p.amount, p.tier, p.model
             FROM (SELECT DISTINCT ON (month) * FROM month_state ORDER BY month, change_no DESC) m
             LEFT JOIN journal_entry e ON e.entity_id = m.entity_id
                                      AND e.booked_for >= m.since AND e.booked_for < m.until
             LEFT JOIN posting p USING (entry_id)
            WHERE m.state = 'closed' ORDER BY 1, 2, 4, 5, 6"""
    )
    said: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        said.setdefault(row["month"], []).append(tuple(row)[1:])
    return said


async def booked(connection: Connection, entity_id: str) -> list[tuple[Any, ...]]:
    """What each natural key comes to by account, and the day it belongs to."""
    rows = await connection.fetch(
        """SELECT replace(e.natural_key, $1, ''), coalesce(e.corrects, e.booked_for), p.account,
                  p.currency, p.dimension, p.tier, p.model, sum(p.amount)
             FROM journal_entry e JOIN posting p USING (entry_id) WHERE e.entity_id = $1
            GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(p.amount) <> 0 ORDER BY 1, 2, 3, 4, 5, 6, 7""",
        entity_id,
    )
    return [tuple(row) for row in rows]


async def tell(url: str, told: Sequence[Step]) -> None:
    connection = await connect(url)
    try:
        books = await subscribed(connection)
        await subscribed(connection, customer_id="twin", entity_id="twin")
        for entity_id in BUYERS:
            await books.facility(f"site-{entity_id}", entity_id)
        before: dict[str, list[tuple[Any, ...]]] = {}
        for step in told:
            await learn(books, step)
            await settle(connection, now=LAST)
            now = await said_of_closed(connection)
            assert {month: now[month] for month in now.keys() & before.keys()} == {
                month: before[month] for month in now.keys() & before.keys()
            }
            before = now
        assert await booked(connection, "factory") == await booked(connection, "twin")
        assert (await check_books(connection)).differences == []
    finally:
        await connection.close()


@settings(max_examples=at_depth(5))
@given(told=steps)
def test_closing_moves_when_and_never_how_much(
    server: EmbeddedServer, template: str, told: list[Step]
) -> None:
    with fresh_database(server, template) as one:
        asyncio.run(tell(one.worker_url, told))
