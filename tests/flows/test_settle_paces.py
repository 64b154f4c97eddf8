"""Whatever the pace, whatever is killed, whoever is poisoned beside them: the same rows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.settle import settle
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.store.standing import list_parked
from tests.flows.billing import subscribed
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import Database, fresh_database
from tests.support.examples import at_depth
from tests.support.poison import POISONS, open_walls, poison

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
WINDOWS = 6
END = START + WINDOWS * QUARTER
# No settle comes later: a window that has begun costs its lease.
LAST = START + 8 * QUARTER
ENTITIES = ("factory", "bad")
WORSE = Buyer(customer_id="worse", customer_ref="worse", entity_id="bad", model="bad-llama")
BUYERS = {"factory": Buyer(), "bad": WORSE}
GPUS = {"factory": "GPU-good", "bad": "GPU-bad"}
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that becomes known of both entities, and how the settle after it fares."""

    what: str
    window: int
    amount: int
    settles: bool
    killed_at: int | None


steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(("usage", "usage", "readings", "power", "pue", "lease")),
        window=st.integers(0, WINDOWS - 1),
        amount=st.integers(1, 9),
        settles=st.booleans(),
        killed_at=st.none() | st.integers(1, 60),
    ),
    min_size=3,
    max_size=7,
)


async def open_factories(connection: Connection, owner: Connection, kind: str) -> Books:
    """A good factory and one that is poisoned in one number, or in none."""
    await open_walls(owner)
    books = await subscribed(connection)
    await books.entity("bad", currency="EUR")
    await books.customer("worse", "bad")
    await books.facility("site", "factory")
    await books.facility("site-bad", "bad")
    await poison(books, kind, START, END)
    await books.lease(START, rate="2", all_in=False, currency="USD")
    await books.pue(START)
    await books.tariff([(START, END, "100")], currency="USD")
    await books.deployment(START, gpus=[GPUS["factory"]])
    await books.deployment(
        START,
        deployment_id="bad-chat",
        asset_id="rack-bad",
        model="bad-llama",
        gpus=[GPUS["bad"]],
        entity_id="bad",
    )
    return books


async def learn(books: Books, step: Step) -> None:
    """What a step says of both, but slow facts of the good one only."""
    at = START + step.window * QUARTER
    if step.what == "usage":
        for buyer in BUYERS.values():
            await books.usage(at, Tokens(uncached=step.amount, output=1), buyer=buyer)
    elif step.what == "readings":
        base = 10**9 + step.window * 900 * 400_000
        for gpu in GPUS.values():
            await books.readings(
                gpu, [(at + timedelta(seconds=s), base + s * 400_000) for s in range(0, 900, 60)]
            )
    elif step.what == "power":
        await books.close("tariff_price", "facility_id = 'site'")
        await books.tariff([(START, END, f"{90 + step.amount}")], currency="USD")
    elif step.what == "pue":
        await books.close("facility_pue", "facility_id = 'site'")
        await books.pue(START, pue=f"1.{step.amount}")
    else:
        await books.close("asset", "asset_id = 'rack'")
        await books.lease(START, rate=f"{step.amount}", all_in=False, currency="USD")


async def settle_and_perhaps_die(url: str, now: datetime, killed_at: int | None) -> None:
    """One settle on a connection of its own, which ends after so many statements."""
    connection = await connect(url)
    seen = 0

    def count(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == killed_at:
            connection.terminate()

    connection.add_query_logger(count)
    try:
        await settle(connection, now=now)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        assert killed_at is not None
    finally:
        connection.terminate()


async def rows_of(connection: Connection, entity_id: str) -> Rows:
    """What stands of an entity: costs, charges, and what the journal adds up to."""
    costs = """SELECT scope, window_start, line, usage_key_id, busy_s, device_metered_mj,
                      device_estimated_mj, overhead_mj, device_cost, overhead_cost, gpu_cost
                 FROM cost_lines_at(as_it_stands())
                WHERE entity_id = $1 AND (device_cost <> 0 OR overhead_cost <> 0 OR gpu_cost <> 0
                   OR device_metered_mj <> 0 OR device_estimated_mj <> 0) ORDER BY 1, 2, 3, 4"""
    days = """SELECT day_start, scope, line, usage_key_id, sum(busy_s), sum(device_metered_mj),
                     sum(device_cost), sum(gpu_cost) FROM cost_day_line WHERE entity_id = $1
               GROUP BY 1, 2, 3, 4 HAVING sum(device_metered_mj) <> 0 OR sum(gpu_cost) <> 0
               ORDER BY 1, 2, 3, 4"""
    charges = """SELECT customer_id, day_start, usage_key_id, meter, unpriced,
                        sum(quantity) AS quantity, sum(amount) AS amount
                   FROM charge WHERE entity_id = $1 GROUP BY 1, 2, 3, 4, 5
                 HAVING sum(quantity) <> 0 OR sum(amount) <> 0 ORDER BY 1, 2, 3, 4, 5"""
    booked = """SELECT e.natural_key, p.account, p.currency, sum(p.amount) AS amount
                  FROM journal_entry e JOIN posting p USING (entry_id) WHERE e.entity_id = $1
                 GROUP BY 1, 2, 3 HAVING sum(p.amount) <> 0 ORDER BY 1, 2, 3"""
    named = {"costs": costs, "days": days, "charges": charges, "booked": booked}
    return {
        name: [tuple(row) for row in await connection.fetch(text, entity_id)]
        for name, text in named.items()
    }


async def tell(database: Database, told: Sequence[Step], kind: str, *, paced: bool) -> Rows:
    """The good factory's rows once all is known and settled."""
    owner, worker = await connect(database.owner_url), await connect(database.worker_url)
    try:
        books = await open_factories(worker, owner, kind)
        for number, step in enumerate(told):
            await learn(books, step)
            if paced and step.settles:
                now = START + (number + 1) * QUARTER
                await settle_and_perhaps_die(database.worker_url, now, step.killed_at)
        for _ in range(2):
            await settle_and_perhaps_die(database.worker_url, LAST, None)
        assert all(one.entity_id == "bad" for one in await list_parked(worker))
        return await rows_of(worker, "factory")
    finally:
        await worker.close()
        await owner.close()


@settings(max_examples=at_depth(8))
@given(told=steps, kind=st.sampled_from(POISONS))
def test_good_rows_are_the_same(
    server: EmbeddedServer, template: str, told: list[Step], kind: str
) -> None:
    with fresh_database(server, template) as one, fresh_database(server, template) as other:
        alone = asyncio.run(tell(one, told, "none", paced=False))
        beside = asyncio.run(tell(other, told, kind, paced=True))
    assert alone["costs"]
    assert beside == alone
