"""Tallies of usage say what windows do, at every cut-off, whenever they were made."""

import random
from collections import defaultdict
from datetime import datetime, timedelta

import pytest

from ledger.domain.period import DAY, HOUR
from ledger.flows.books.check_books import check_books
from ledger.flows.cost.allocate import allocate
from ledger.flows.metering.tally import EVERY, tally
from ledger.store.connect import draw_batch_seq
from ledger.store.cost import margin
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import LATER, QUARTER, START, one_gpu

BUYERS = [Buyer(agent_id="a"), Buyer(agent_id="b"), Buyer("beta", "beta", tier="batch")]
STRANGER = Buyer(None, "stranger", None)
COUNTS = (
    *("requests", "uncached", "cache_read", "cache_write", "output", "input_unknown"),
    *("output_unknown", "cached_unknown", "written_unknown"),
)


async def mark(connection: Connection) -> None:
    """A request of the first buyer that did not say its input."""
    async with connection.transaction():
        await connection.execute(
            """INSERT INTO usage_mark (customer_id, usage_key_id, window_start, batch_seq,
                    estimated, incomplete, input_unknown, output_unknown, cached_unknown,
                    written_unknown, reasoning_unknown)
               VALUES ('acme', $1, $2, $3, 0, 0, 1, 0, 2, 0, 0)""",
            *(BUYERS[0].usage_key_id, START, await draw_batch_seq(connection)),
        )


async def by_windows(
    connection: Connection, seq: int, since: datetime, until: datetime
) -> dict[tuple[str, ...], list[int]]:
    """Usage of known customers by customer, agent and tier, window by window."""
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(COUNTS))
    for table, names in (("usage_delta", COUNTS[:5]), ("usage_mark", COUNTS[5:])):
        said = ", ".join("visible + reasoning" if name == "output" else name for name in names)
        rows = await connection.fetch(
            f"""SELECT customer_id, agent_id, tier, {said}
                  FROM {table} d JOIN usage_key k USING (customer_id, usage_key_id)
                 WHERE entity_id = 'factory' AND batch_seq <= $1 AND window_start >= $2
                   AND window_start < $3""",
            *(seq, since, until),
        )
        for row in rows:
            counts = dict(zip(names, row[3:], strict=True))
            found = sums[row[0], row[1], row[2]]
            sums[row[0], row[1], row[2]] = [
                n + counts.get(name, 0) for n, name in zip(found, COUNTS, strict=True)
            ]
    return {key: counts for key, counts in sums.items() if any(counts)}


async def by_days(
    connection: Connection, seq: int, since: datetime, until: datetime
) -> dict[tuple[str, ...], list[int]]:
    rows = await margin.sum_usage(
        connection,
        by=("customer", "agent", "tier"),
        entity_id="factory",
        since=since,
        until=until,
        batch_seq=seq,
    )
    return {
        (str(row.customer_id), str(row.agent_id), str(row.tier)): counts
        for row in rows
        if any(counts := [int(getattr(row, name)) for name in COUNTS]) and row.customer_id
    }


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
async def test_tallies_say_what_windows_do_at_every_cut_off(worker: Connection, zone: str) -> None:
    rng, books = random.Random(zone), Books(worker)
    await books.entity(zone=zone)
    for name in ("acme", "beta"):
        await books.customer(name)
    await books.usage(START, Tokens(output=1), buyer=BUYERS[0])
    for step in range(6):
        for _ in range(3):
            window = START + rng.randrange(-100, 100) * QUARTER
            tokens = Tokens(*(rng.randrange(1_000) for _ in range(4)))
            await books.usage(window, tokens, buyer=rng.choice(BUYERS))
        if step % 2:
            await mark(worker)
        await tally(worker, now=LATER + step * EVERY)
    last = await worker.fetchval("SELECT max(batch_seq) FROM usage_delta")
    midnight = LATER - DAY
    for seq in (*range(last + 1), 2**62):
        for since, until in (
            (midnight - 2 * DAY, midnight + 3 * DAY),
            (START, START + DAY + QUARTER),
            (midnight, midnight + HOUR),
            (midnight, midnight + DAY),
            (START - QUARTER, START),
        ):
            expected = await by_windows(worker, seq, since, until)
            assert await by_days(worker, seq, since, until) == expected, (seq, since, until)
    assert (await check_books(worker)).proofs["key_day"] == 0


async def test_a_tally_is_made_every_so_often_of_what_is_new(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.customer()
    await books.usage(START, Tokens(uncached=5))
    assert (await tally(worker, now=LATER)).rows_written == 1
    await books.usage(START, Tokens(uncached=5))
    assert (await tally(worker, now=LATER + EVERY - timedelta(seconds=1))).rows_written == 0
    assert (await tally(worker, now=LATER + EVERY)).rows_written == 1
    assert await worker.fetchval("SELECT sum(uncached) FROM key_day") == 10


async def test_customers_nobody_knows_are_told_where_they_carry_cost(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.usage(START, Tokens(uncached=5), buyer=STRANGER)
    await allocate(worker, now=LATER)
    await tally(worker, now=LATER)
    (row,) = await margin.sum_usage(
        worker,
        by=("customer",),
        entity_id="factory",
        since=START,
        until=START + DAY,
        batch_seq=2**62,
    )
    assert (row.customer_id, row.customer_ref, row.uncached) == (None, "stranger", 5)
