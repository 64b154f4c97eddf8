"""The days that facts are stored in are made by whoever finds that one is lacking."""

from datetime import timedelta

from ledger.flows.metering.release import release_suspense
from ledger.store.queries import Connection
from tests.support.usage import NOW, Gate, add_customer, attempt, keyed, open_books

LATER = NOW + timedelta(days=40)


async def days_of(connection: Connection, table: str) -> set[str]:
    rows = await connection.fetch(
        "SELECT right(inhrelid::regclass::text, 8) FROM pg_inherits WHERE inhparent = $1::regclass",
        table,
    )
    return {row[0] for row in rows}


async def test_a_batch_that_finds_no_day_makes_it_and_is_stored(worker: Connection) -> None:
    await open_books(worker)
    assert f"{LATER:%Y%m%d}" not in await days_of(worker, "usage_fact")
    gate = Gate(worker)
    (stored,) = await gate.send(keyed(attempt("a")), now=LATER)
    assert [item.outcome for item in stored.items()] == ["created"]
    for table in ("usage_fact", "gpu_reading", "meter_gap", "counter_reading"):
        assert f"{LATER:%Y%m%d}" in await days_of(worker, table)
    (again,) = await gate.send(keyed(attempt("a")), now=LATER)
    assert [item.outcome for item in again.items()] == ["duplicate"]


async def test_a_release_that_finds_no_day_makes_it(worker: Connection) -> None:
    await open_books(worker)
    gate = Gate(worker)
    assert await gate.outcomes(keyed(attempt("a", customer_id="late"))) == ["suspense"]
    await add_customer(worker, "late")
    released = await release_suspense(worker, directory=gate.directory, now=LATER)
    assert released == 1
