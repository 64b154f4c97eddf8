"""Whatever one piece of background work fails at, its thread goes on, and says so."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal, Inexact, InvalidOperation

import asyncpg
import pytest

from ledger.commands.serve.background import again_and_again, background, rest_s, watch
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.store.standing import list_work_states
from tests.support.database import Database
from tests.support.waiting import eventually

ERRORS: dict[str, Exception] = {
    "arithmetic": ZeroDivisionError("by zero"),
    "decimals": InvalidOperation(),
    "inexact": Inexact(),
    "overflow": OverflowError("date value out of range"),
    "data": asyncpg.DataError("invalid input for query argument"),
    "interface": asyncpg.InterfaceError("cannot perform operation"),
    "defect": KeyError("window"),
    "memory": MemoryError(),
}


async def states(url: str) -> dict[str, tuple[bool, int, str | None]]:
    connection = await connect(url)
    try:
        return {
            row.work: (row.succeeded_at is not None, row.failures, row.failure)
            for row in await list_work_states(connection)
        }
    finally:
        await connection.close()


def failing(error: Exception) -> Callable[[Connection], Awaitable[None]]:
    async def work(_: Connection) -> None:
        raise error

    return work


def test_any_error_keeps_the_thread_and_the_work_beside_it(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = []

    async def good(connection: Connection) -> None:
        rounds.append(await connection.fetchval("SELECT 1.5::numeric"))

    works = {**{name: failing(error) for name, error in ERRORS.items()}, "good": good}
    with (
        caplog.at_level(logging.WARNING),
        again_and_again("test", database.worker_url, 0, works),
    ):
        eventually(lambda: len(rounds) > 8)
    assert rounds[0] == Decimal("1.5")
    found = asyncio.run(states(database.worker_url))
    assert found["good"] == (True, 0, None)
    for name, error in ERRORS.items():
        succeeded, failures, failure = found[name]
        assert not succeeded
        assert failures > 5
        assert type(error).__name__ in str(failure)
        said = [r.getMessage() for r in caplog.records if r.getMessage().startswith(f"{name}: ")]
        assert [line.split()[2] for line in said][:4] == ["1", "2", "4", "8"]
        assert len(said) < 12


def test_a_connection_that_is_lost_ends_the_round_and_not_the_thread(database: Database) -> None:
    rounds = []

    async def lose(connection: Connection) -> None:
        rounds.append(1)
        if len(rounds) < 4:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with again_and_again("test", database.worker_url, 0, {"lose": lose}):
        eventually(lambda: len(rounds) > 4)
    assert asyncio.run(states(database.worker_url))["lose"] == (True, 0, None)


def test_every_work_of_a_serving_process_says_when_it_last_succeeded(database: Database) -> None:
    expected = {
        *("settle", "quarantine expiry", "closed days", "fold", "merge"),
        *("frozen sessions", "sums", "partitions"),
    }

    def all_succeeded() -> bool:
        found = asyncio.run(states(database.worker_url))
        return {name for name, (succeeded, _, _) in found.items() if succeeded} >= expected

    with watch(database.worker_url, frozen_s=120), background(database.worker_url, 1):
        eventually(all_succeeded)


def test_sums_that_take_long_rest_longer_and_add_up_more() -> None:
    assert [rest_s(took) for took in (0, 0.1, 0.4, 1.0, 60.0)] == [
        0.5,
        0.5,
        pytest.approx(1.2),
        3,
        5,
    ]
