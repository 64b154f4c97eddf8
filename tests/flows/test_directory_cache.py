"""The slow facts by which a batch is resolved are of one moment, whatever changes meanwhile."""

import asyncio

from ledger.flows.reference.enter import enter_alias
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.wire.inputs import NewAlias, read_input
from tests.support.database import Database
from tests.support.usage import AUTHOR, Gate, add_customer, attempt, keyed, open_books

WAITS = (
    "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'customer_alias'::regclass AND NOT granted"
)
ALIAS = {"alias": "crm-7", "customer_id": "beta", "valid_from": "2026-01-01T00:00:00Z"}


async def test_a_name_entered_while_slow_facts_are_read_is_known_with_its_customer_or_not_at_all(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    gate = Gate(worker)
    assert await gate.outcomes(keyed(attempt("e0"))) == ["created"]
    other = await connect(database.superuser_url)
    entering = other.transaction()
    await entering.start()
    await add_customer(other, "beta")
    await enter_alias(other, read_input(NewAlias, ALIAS), AUTHOR)
    # Whoever reads has read the customers once it waits for their names.
    await other.execute("LOCK TABLE customer_alias IN ACCESS EXCLUSIVE MODE")
    sending = asyncio.ensure_future(gate.outcomes(keyed(attempt("e1", customer_id="crm-7"))))
    async with asyncio.timeout(120):
        while not (await other.fetchval(WAITS) or sending.done()):
            await asyncio.sleep(0.01)
    await entering.commit()
    await other.close()
    assert await sending == ["suspense"]
    assert await gate.outcomes(keyed(attempt("e2", customer_id="crm-7"))) == ["created"]
