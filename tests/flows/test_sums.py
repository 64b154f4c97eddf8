"""Sums follow at any pace, and no cut-off ever sees facts without their sums, or sums alone."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import asyncpg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import clock
from ledger.domain.metering.spread import METERS, WORK
from ledger.flows.metering.check import check_windows
from ledger.flows.metering.fold import fold
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.release import release_suspense
from ledger.flows.reference.enter_budget import enter_budget
from ledger.flows.watch import measure
from ledger.reports.metering.status import read_status
from ledger.store.connect import DamagedSumError, connect, draw_batch_seq, draw_cut_off, sum_windows
from ledger.store.queries import Connection
from ledger.store.sums import EncodedSums, UnsummedBatches, count_unsummed, sum_pending
from ledger.wire.budget_inputs import NewBudget
from ledger.wire.inputs import read_input
from tests.support.database import Database, empty
from tests.support.examples import at_depth
from tests.support.usage import AUTHOR, NOW, Event, Gate, add_customer, attempt, keyed, open_books

LARGE = IngestLimits(chunk_facts=1)
SMALL = IngestLimits(chunk_facts=10**9)
HOUR = datetime(2026, 8, 6, 11, tzinfo=UTC)
SEEN = """SELECT d.customer_id, d.window_start, sum(d.uncached)::bigint AS tokens FROM usage_delta d
           WHERE d.batch_seq <= $1 GROUP BY 1, 2"""
WORKED = """SELECT k.customer_id, d.window_start, sum(d.uncached)::bigint AS tokens
              FROM activity_delta d JOIN usage_key k USING (usage_key_id)
             WHERE d.batch_seq <= $1 GROUP BY 1, 2"""
INCOMPLETE = """SELECT d.customer_id, d.window_start, sum(d.incomplete)::bigint AS requests
                  FROM usage_mark d WHERE d.batch_seq <= $1 GROUP BY 1, 2"""
BUSY = """SELECT k.engine_instance, d.window_start, bit_or(d.mask) AS mask
            FROM activity_mask d JOIN engine_key k USING (engine_key_id)
           WHERE d.batch_seq <= $1 GROUP BY 1, 2"""
Windows = Counter[tuple[str, datetime]]


async def seen(connection: Connection, batch_seq: int) -> list[Windows]:
    """Of every window at a cut-off: input tokens as billed and as worked on, requests that were cut
    short, and the seconds in which an engine ran, the first one the lowest bit."""
    return [
        Counter(
            {(row[0], row[1]): _whole(row[2]) for row in await connection.fetch(sql, batch_seq)}
        )
        for sql in (SEEN, WORKED, INCOMPLETE, BUSY)
    ]


def _whole(stored: int | asyncpg.BitString) -> int:
    return stored if isinstance(stored, int) else int(stored.as_string().replace(" ", "")[::-1], 2)


def marked(event_id: str, **said: Any) -> Event:
    """An attempt that was cut short."""
    event = attempt(event_id, **said)
    event["data"]["usage"]["complete"] = False
    return event


@dataclass
class Added:
    """What a batch adds to windows."""

    tokens: Windows = field(default_factory=Counter)
    incomplete: Windows = field(default_factory=Counter)
    busy: Windows = field(default_factory=Counter)


async def rows(connection: Connection, table: str) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    """Books of two customers, whose batches are all large."""
    await open_books(worker)
    await add_customer(worker, "beta")
    await prepare_storage(worker, now=NOW)
    return Gate(worker, LARGE)


class Told:
    """Batches of random attempts, and what each adds to windows by a sum of its own."""

    def __init__(self, gate: Gate, *forms: IngestLimits) -> None:
        self.gate, self.forms = gate, forms or (LARGE, LARGE, SMALL)
        self.added: dict[int, Added] = {}
        self.sent = 0

    async def send(self, draw: random.Random) -> None:
        """A batch of a few attempts, large or small."""
        self.gate.limits = draw.choice(self.forms)
        added = Added()
        events = []
        for _ in range(draw.randint(1, 4)):
            self.sent += 1
            who, minute, tokens = draw.choice(["acme", "beta"]), draw.randint(0, 44), self.sent
            window = HOUR + timedelta(minutes=minute // 15 * 15)
            added.tokens[who, window] += tokens
            engine = draw.choice(["a", "b"])
            said = {"customer_id": who, "engine": {"instance": engine}}
            make = draw.choice([attempt, marked])
            events.append(make(f"e{self.sent}", minute=minute, tokens=tokens, **said))
            added.incomplete[who, window] += make is marked
            # It ran in the second in which it ended: nobody knows when it began.
            added.busy[engine, window] |= 1 << minute % 15 * 60 + 30
        await self.gate.send(keyed(*events))
        last = await self.gate.connection.fetchval("SELECT max(batch_seq) FROM receipt")
        self.added[last] = added

    def at(self, batch_seq: int) -> list[Windows]:
        """What a cut-off must see, as `seen` says it."""
        upto = [added for seq, added in self.added.items() if seq <= batch_seq]
        tokens = sum((added.tokens for added in upto), Counter())
        incomplete = sum((added.incomplete for added in upto), Counter())
        busy: Windows = Counter()
        for added in upto:
            for engine_window, seconds in added.busy.items():
                busy[engine_window] |= seconds
        return [tokens, tokens, incomplete, busy]


class Pace:
    """What may happen in any order, each by a session of its own, and what cut-offs must see."""

    def __init__(self, gate: Gate, other: Connection, holder: Connection, seed: int) -> None:
        self.draw = random.Random(seed)
        self.told, self.worker, self.other, self.holder = Told(gate), gate.connection, other, holder
        self.held = holder.transaction()
        self.kept: list[int] = []

    async def send(self) -> None:
        await self.told.send(self.draw)

    async def sum(self) -> None:
        await sum_windows(self.other)

    async def break_off(self) -> None:
        broken = self.other.transaction()
        await broken.start()
        await sum_pending(self.other)
        await broken.rollback()

    async def fold(self) -> None:
        await fold(self.worker, every=self.draw.random() < 0.5)

    async def open(self) -> None:
        if not self.holder.is_in_transaction():
            self.held = self.holder.transaction()
            await self.held.start()
            await draw_batch_seq(self.holder)

    async def close(self) -> None:
        if self.holder.is_in_transaction():
            await self.held.rollback()

    async def cut(self) -> None:
        self.kept.append((await draw_cut_off(self.other, "report")).batch_seq)

    async def cut_inside(self) -> None:
        async with self.other.transaction():
            self.kept.append((await draw_cut_off(self.other, "invoice")).batch_seq)
            await self.hold(self.other)

    async def hold(self, connection: Connection) -> None:
        """Every cut-off sees what was stored up to it, then and now."""
        wanted = [self.told.at(batch_seq) for batch_seq in self.kept]
        assert [await seen(connection, batch_seq) for batch_seq in self.kept] == wanted


STEPS = (*("send",) * 3, "sum", "break_off", "cut", "cut_inside", "open", "close", "fold")
EMPTY = """usage_fact, usage_chunk, receipt, event_key, pending_sum, usage_delta, activity,
    activity_mask, usage_mark"""


@settings(max_examples=at_depth(15))
@given(steps=st.lists(st.sampled_from(STEPS), min_size=8, max_size=40), seed=st.integers(0, 99))
async def test_summing_at_any_pace_gives_the_same_windows_at_every_cut_off(
    gate: Gate, database: Database, steps: list[str], seed: int
) -> None:
    await empty(database, EMPTY)
    fresh = Gate(gate.connection)
    other, holder = await connect(database.worker_url), await connect(database.worker_url)
    try:
        pace = Pace(fresh, other, holder, seed)
        for step in steps:
            await getattr(pace, step)()
            await pace.hold(fresh.connection)
        await pace.close()
        await pace.cut()
        await pace.hold(fresh.connection)
        assert pace.kept[-1] >= max(pace.told.added, default=0), "what was stored before is seen"
        assert await rows(fresh.connection, "pending_sum") == 0
        assert pace.kept == sorted(pace.kept)
        assert (await check_windows([fresh.connection])).differing == 0
    finally:
        await other.close()
        await holder.close()


async def test_many_batches_become_one_row_a_window(gate: Gate) -> None:
    worker = gate.connection
    for n in range(9):
        await gate.send(keyed(attempt(f"e{n}", minute=n, tokens=n)))
    assert await rows(worker, "usage_delta") == 0
    assert (await count_unsummed(worker)).batches == await sum_windows(worker) == 9
    assert await rows(worker, "usage_delta") == await rows(worker, "activity_delta") == 1
    (row,) = await worker.fetch(
        "SELECT d.*, (SELECT min(batch_seq) FROM receipt) AS first,"
        " (SELECT max(batch_seq) FROM receipt) AS last FROM usage_delta d"
    )
    assert (row["first_batch_seq"], row["batch_seq"]) == (row["first"], row["last"])
    assert (row["requests"], row["uncached"], row["customer_id"]) == (9, 36, "acme")
    assert await sum_windows(worker) == 0


async def test_what_is_drawn_inside_a_transaction_lies_below_what_is_not_summed(
    gate: Gate, database: Database
) -> None:
    worker = gate.connection
    await gate.send(keyed(attempt("a")))
    before = await draw_cut_off(worker, "report")
    await gate.send(keyed(attempt("b")))
    other = await connect(database.worker_url)
    try:
        async with other.transaction():
            inside = await draw_cut_off(other, "invoice")
            # It is nobody else's yet, and nothing may merge across it: others have what is summed.
            beside = await draw_cut_off(worker, "report")
            assert await sum_windows(worker) == 0
    finally:
        await other.close()
    batch = await worker.fetchval("SELECT max(batch_seq) FROM receipt")
    assert before.batch_seq <= inside.batch_seq == beside.batch_seq == batch - 1
    assert (await draw_cut_off(worker, "report")).batch_seq >= batch


SUMMED = ("usage_delta", "usage_mark", "activity", "activity_mask")


@pytest.mark.parametrize("table", [*SUMMED, "pending_sum"])
async def test_a_sum_that_is_killed_between_its_statements_is_made_again(
    gate: Gate, database: Database, superuser: Connection, table: str
) -> None:
    worker, told, draw = gate.connection, Told(gate, LARGE), random.Random(5)
    for _ in range(5):
        await told.send(draw)
    victim = await connect(database.worker_url)
    async with superuser.transaction():
        # Readers go on, and whoever writes waits.
        await superuser.execute(f"LOCK TABLE {table} IN SHARE MODE")
        summing = asyncio.ensure_future(sum_windows(victim))
        pid = victim.get_server_pid()
        while not await superuser.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid):
            assert not summing.done()
            await asyncio.sleep(0.01)
        await superuser.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await summing
    assert await rows(worker, "pending_sum") == 5
    cut_off = await draw_cut_off(worker, "report")
    assert await seen(worker, cut_off.batch_seq) == told.at(cut_off.batch_seq)
    assert (await check_windows([worker])).differing == 0


async def test_sums_never_wrap(gate: Gate, superuser: Connection) -> None:
    worker, largest = gate.connection, 2**63 - 1
    for n in range(4):
        await gate.send(keyed(attempt(f"e{n}", tokens=1)))
    for batch_seq in await pending(worker):
        usage = await usage_of(worker, batch_seq)
        sums = EncodedSums.of({"usage": usage.with_columns(pl.lit(largest).alias("uncached"))})
        assert sums.reach == largest
        await superuser.execute(
            "UPDATE pending_sum SET reach = $2, sha256 = $3, usage = $4, activity = NULL,"
            " marks = NULL, masks = NULL"
            " WHERE batch_seq = $1",
            *(batch_seq, sums.reach, sums.sha256, sums.usage),
        )
    assert await sum_windows(worker) == 4
    assert await seen_wide(worker) == [4 * largest] * 2
    assert await rows(worker, "usage_delta") == 4
    await gate.send(keyed(attempt("f", tokens=1)))
    await gate.send(keyed(attempt("g", tokens=1)))
    assert await sum_windows(worker) == 2
    assert await seen_wide(worker) == [4 * largest + 2] * 2
    assert await rows(worker, "usage_delta") == 5


async def test_counts_that_are_kept_narrow_add_up_past_their_width(gate: Gate) -> None:
    worker = gate.connection
    used = {"input": {"uncached": 100, "cache_read": 100, "cache_write": 0}}
    used["output"] = {"visible": 100, "reasoning": 100}
    for n in range(3):
        await gate.send(keyed(attempt(f"e{n}", usage=used)))
    await gate.send(keyed(attempt("f", usage=used), attempt("g", tokens=10**6)))
    dtypes = {(await usage_of(worker, n))["visible"].dtype for n in await pending(worker)}
    assert dtypes == {pl.Int8, pl.Int32}
    assert await sum_windows(worker) == 4
    billed = await worker.fetchrow("SELECT sum(uncached), sum(visible) FROM usage_delta")
    assert tuple(billed or ()) == (400 + 10**6, 400 + 2 * 10**6)
    assert await worker.fetchval("SELECT sum(output) FROM activity_delta") == 800 + 2 * 10**6


async def pending(connection: Connection) -> list[int]:
    """The batches that wait to be summed."""
    waiting = await connection.fetch("SELECT batch_seq FROM pending_sum ORDER BY batch_seq")
    return [int(batch_seq) for (batch_seq,) in waiting]


def test_a_count_without_a_positive_of_its_own_has_a_reach() -> None:
    columns = ("usage_key_id", "engine_key_id", "customer_id", "requests", *METERS)
    usage = pl.DataFrame({name: [-(2**63)] for name in columns})
    activity = pl.DataFrame({name: [1] for name in ("engine_key_id", "usage_key_id", *WORK)})
    window = pl.Series("window_start", [HOUR])
    added = {"usage": usage.with_columns(window), "activity": activity.with_columns(window)}
    sums = EncodedSums.of(added)
    assert (sums.reach, sums.moves) == (2**63 - 1, 2)


async def usage_of(connection: Connection, batch_seq: int) -> pl.DataFrame:
    """What a batch adds to windows of usage, and to those of activity where it ran in one."""
    stored = await connection.fetchval(
        "SELECT usage FROM pending_sum WHERE batch_seq = $1", batch_seq
    )
    return pl.read_ipc(BytesIO(stored))


async def seen_wide(worker: Connection) -> list[int]:
    tables = ("usage_delta", "activity_delta")
    sums = [await worker.fetchval(f"SELECT sum(uncached) FROM {name}") for name in tables]
    return [int(one) for one in sums]


async def test_more_than_a_step_takes_is_summed_in_several(
    gate: Gate, superuser: Connection
) -> None:
    worker = gate.connection
    for n in range(5):
        await gate.send(keyed(attempt(f"e{n}", tokens=1)))
    await superuser.execute("UPDATE pending_sum SET moves = 200000")
    assert await sum_windows(worker) == 5
    assert await rows(worker, "usage_delta") == 3
    assert (await check_windows([worker])).differing == 0


async def test_very_many_keys_are_summed_some_at_a_time(gate: Gate) -> None:
    worker, keys = gate.connection, 9_000
    for batch in range(8):
        said = [attempt(f"{batch}.{n}", tokens=n + 1, project_id=f"p{n}") for n in range(keys)]
        await gate.send(*(keyed(*said[at : at + 1_000]) for at in range(0, keys, 1_000)))
    assert await sum_windows(worker) == 8
    assert await rows(worker, "usage_delta") == keys
    report = await check_windows([worker])
    assert (report.differing, report.windows["activity_delta"]) == (0, keys)


async def test_suspense_is_listed_and_released_as_it_stands(gate: Gate) -> None:
    worker = gate.connection
    await gate.send(keyed(attempt("c", customer_id="nobody", minute=40)))
    assert await rows(worker, "usage_delta") == 0
    await add_customer(worker, "nobody")
    assert await release_suspense(worker, directory=gate.directory, now=NOW) == 1


async def test_a_batch_that_is_damaged_is_named_and_no_cut_off_passes_it(
    gate: Gate, superuser: Connection
) -> None:
    worker, told, draw = gate.connection, Told(gate, LARGE), random.Random(1)
    for _ in range(3):
        await told.send(draw)
    first, second, _ = sorted(told.added)
    await superuser.execute(
        "UPDATE pending_sum SET usage = set_byte(usage, 99, 255 - get_byte(usage, 99))"
        " WHERE batch_seq = $1",
        second,
    )
    with pytest.raises(DamagedSumError, match=f"batch {second}"):
        await sum_windows(worker)
    cut_off = await draw_cut_off(worker, "report")
    assert cut_off.batch_seq == second - 1
    assert await seen(worker, cut_off.batch_seq) == told.at(first)
    report = await check_windows([worker])
    (named,) = report.differences
    assert (named["table"], named["place"]) == ("pending_sum", f"batch {second}")


async def test_a_batch_whose_moves_are_lost_is_named_by_check(
    gate: Gate, superuser: Connection
) -> None:
    await gate.send(keyed(marked("a")))
    await superuser.execute("DELETE FROM pending_sum")
    report = await check_windows([gate.connection])
    assert {one["table"] for one in report.differences} == {*SUMMED} - {"activity"} | {
        "activity_delta"
    }


async def test_how_far_sums_are_behind_is_said(gate: Gate, database: Database) -> None:
    worker = gate.connection
    await gate.send(keyed(attempt("a")))
    other = await connect(database.worker_url)
    try:
        async with other.transaction():
            await draw_batch_seq(other)
            await gate.send(keyed(attempt("b")))
            cut_off = await draw_cut_off(worker, "status")
            status = await read_status(worker, stages=(), cut_off=cut_off, now=clock.now())
    finally:
        await other.close()
    assert status.unsummed.batches == 1
    assert status.unsummed.unsummed_s is not None
    assert (await measure(worker)).unsummed.batches == 1
    await draw_cut_off(worker, "report")
    assert (await measure(worker)).unsummed == UnsummedBatches(0, None)


async def test_a_new_budget_counts_what_was_not_summed(gate: Gate) -> None:
    worker = gate.connection
    await gate.send(keyed(attempt("a", tokens=7)))
    said = {"budget_id": "b", "customer_id": "acme", "period": "month", "unit": "requests"}
    more = {"amount": "100", "valid_from": "2026-01-01T00:00:00Z"}
    await enter_budget(worker, read_input(NewBudget, said | more), AUTHOR)
    assert await worker.fetchval("SELECT sum(used) FROM budget_balance") == 1
