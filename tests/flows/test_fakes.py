"""What a promise rests on is taken away, and the test of that promise has to fail."""

from datetime import datetime
from uuid import UUID

import polars as pl
import pytest

from ledger.domain.metering.record import Record, RecordOutcome
from ledger.flows.metering.ingest import (
    prepare_records,
    prepare_storage,
    resolve_prepared,
    store_prepared,
)
from ledger.store.connect import connect, draw_batch_seq
from ledger.store.metering.ingest import INGEST
from ledger.store.metering.positions import Partition, insert_position
from ledger.store.queries import Connection, Query
from tests.flows.billing import WINDOW, settled, subscribed
from tests.support.asking import ask_as
from tests.support.books import Buyer, Tokens
from tests.support.database import Database
from tests.support.usage import NOW, Gate, attempt, keyed, open_books, sequenced, windows

SAME = UUID(int=7)


class BlindGate(Gate):
    """Ingest that takes all contents for one: every digest it compares is the same."""

    async def send(self, *records: Record, now: datetime = NOW) -> list[RecordOutcome]:
        prepared = await prepare_records(records, now=now, limits=self.limits)
        prepared.batches = dict.fromkeys(prepared.batches, SAME)
        resolved = await resolve_prepared(
            self.connection, prepared, directory=self.directory, now=now, limits=self.limits
        )
        resolved.keyed = resolved.keyed.with_columns(digest=pl.lit(SAME.bytes))
        # A second try would resolve again, and see: what is stored is looked up at the first.
        self.directory.duplicate_filter.raise_for(resolved.keyed["source_id"].unique())
        return await store_prepared(
            self.connection,
            prepared,
            directory=self.directory,
            now=now,
            limits=self.limits,
            resolved=resolved,
        )


async def the_same_is_a_duplicate_and_other_content_a_conflict(gate: Gate) -> None:
    """The promise, of events with ids and of numbered batches, within a call and across calls."""
    assert await gate.outcomes(keyed(attempt("a"))) == ["created"]
    assert await gate.outcomes(sequenced([attempt()])) == ["created"]
    counted = await windows(gate.connection)
    assert await gate.outcomes(keyed(attempt("a")), sequenced([attempt()])) == ["duplicate"] * 2
    other = keyed(attempt("a", tokens=11)), sequenced([attempt(tokens=11)])
    found = [await gate.outcomes(one) for one in other]
    twice = await gate.outcomes(keyed(attempt("b"), attempt("b", tokens=11)))
    assert await gate.connection.fetchval("SELECT count(*) FROM conflict") == 3
    assert found == [["conflict"], ["conflict"]]
    assert twice == ["created", "conflict"]
    assert [row[5] for row in await windows(gate.connection)] == [counted[0][5] + 1]


async def test_duplicates_are_told_by_their_content(worker: Connection) -> None:
    await open_books(worker)
    await the_same_is_a_duplicate_and_other_content_a_conflict(Gate(worker))


async def test_the_duplicate_test_fails_when_the_digest_is_ignored(worker: Connection) -> None:
    await open_books(worker)
    with pytest.raises(AssertionError, match=r"assert 0 == 3"):
        await the_same_is_a_duplicate_and_other_content_a_conflict(BlindGate(worker))


AT = Partition("cluster", "topic", 0, "events")
MOVE = INGEST["move_position"]
# The same statement for a worker that forgets where it believes the partition stands.
UNFENCED = Query(
    "move_position",
    MOVE.sql.replace(
        f"next_offset = ${MOVE.parameters.index('expected') + 1}", "$6::bigint IS NOT NULL"
    ),
    MOVE.parameters,
)


async def store_up_to(url: str, move: Query, *, expected: int, next_offset: int) -> bool:
    """One worker's transaction: a receipt, and the position; False where it rolled back."""
    connection = await connect(url)
    transaction = connection.transaction()
    try:
        await transaction.start()
        batch_seq = await draw_batch_seq(connection)
        await connection.execute(
            """INSERT INTO receipt (batch_seq, ordinal_from, lane, transport, received_at, received,
                                    counted) VALUES ($1, 0, 0, 'kafka', $2, $3, $3)""",
            *(batch_seq, NOW, next_offset - expected),
        )
        at = {"cluster_id": AT.cluster_id, "topic_id": AT.topic_id, "partition": AT.partition}
        step = {"expected": expected, "next_offset": next_offset, "batch_seq": batch_seq}
        moved = await move.run(connection, **at, **step)
        await (transaction.commit() if moved else transaction.rollback())
        return moved == 1
    finally:
        await connection.close()


async def only_who_holds_a_partition_can_commit(database: Database, move: Query) -> None:
    """The promise: of two workers that read from 0, the one that comes second leaves no trace."""
    worker = await connect(database.worker_url)
    try:
        await insert_position(worker, AT, 0)
        assert await store_up_to(database.worker_url, move, expected=0, next_offset=5)
        zombie = await store_up_to(database.worker_url, move, expected=0, next_offset=3)
        received = await worker.fetchval("SELECT sum(received) FROM receipt")
        stands = await worker.fetchval("SELECT next_offset FROM kafka_position")
        assert (zombie, received, stands) == (False, 5, 5)
    finally:
        await worker.close()


async def test_a_worker_that_lost_its_partition_cannot_commit(database: Database) -> None:
    await only_who_holds_a_partition_can_commit(database, MOVE)


async def test_the_fencing_test_fails_without_the_expected_offset(database: Database) -> None:
    assert UNFENCED.sql != MOVE.sql
    with pytest.raises(AssertionError, match=r"assert \(True, 8, 3\)"):
        await only_who_holds_a_partition_can_commit(database, UNFENCED)


OWN_ONLY = ("customer", "subscription", "usage_key", "usage_delta", "usage_fact", "charge")
HOUSE_ONLY = ("cost_allocation", "receipt", "ingest_batch", "event_key", "source", "posting")


async def acme_sees_its_own_and_nothing_of_the_house(
    connection: Connection, database: Database
) -> None:
    """The promise of row-level security, asked of the database itself."""
    async with connection.transaction():
        await ask_as(connection, database, "customer", "acme")
        for table in OWN_ONLY:
            key = "JOIN usage_key USING (usage_key_id)" if table == "usage_fact" else ""
            seen = await connection.fetch(f"SELECT DISTINCT customer_id FROM {table} {key}")
            assert [row[0] for row in seen] == ["acme"], table
        for table in HOUSE_ONLY:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def fill_for_two(worker: Connection) -> None:
    """Usage, charges and postings of acme and of beta."""
    await subscribed(worker)
    books = await subscribed(worker, customer_id="beta")
    await books.usage(WINDOW, Tokens(uncached=5))
    beta = Buyer(customer_id="beta", customer_ref="b")
    await books.usage(WINDOW, Tokens(uncached=7), buyer=beta)
    await prepare_storage(worker, now=NOW)
    of_both = [attempt("a"), attempt("b", customer_id="beta")]
    await Gate(worker).send(keyed(*of_both), sequenced(of_both))
    await settled(worker)


async def test_a_customer_sees_its_own_rows_only(
    worker: Connection, api: Connection, database: Database
) -> None:
    await fill_for_two(worker)
    await acme_sees_its_own_and_nothing_of_the_house(api, database)


@pytest.mark.parametrize("role", ["owner", "worker"])
async def test_the_row_level_security_test_fails_when_run_as_owner(
    worker: Connection, owner: Connection, database: Database, role: str
) -> None:
    wrong = {"owner": owner, "worker": worker}[role]
    await fill_for_two(worker)
    with pytest.raises(AssertionError, match="customer"):
        await acme_sees_its_own_and_nothing_of_the_house(wrong, database)
