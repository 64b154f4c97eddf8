"""Health is known before anybody asks, and never for long after the books cannot be read."""

import asyncio
import time

import pytest
from httpx import Response

from ledger.api import health
from ledger.api.health import Question
from ledger.domain.errors import UnavailableError
from ledger.embedded.postgres import EmbeddedServer
from ledger.store.queries import Connection
from tests.api.served import Served, serve
from tests.api.test_database_away import served_by
from tests.support.database import Database
from tests.support.waiting import eventually


async def test_what_was_answered_holds_while_it_is_asked_again_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "ANSWER_S", 0.05)
    answers: list[asyncio.Future[None]] = [asyncio.Future() for _ in range(3)]
    coming = iter(answers)
    question = Question(lambda: next(coming), 2)
    answers[0].set_result(None)
    await question.answered()
    question.again()
    await question.answered()
    await asyncio.sleep(2.05)
    with pytest.raises(UnavailableError):
        await question.answered()
    answers[1].set_exception(ConnectionError("it went"))
    with pytest.raises(ConnectionError):
        await question.answered()
    question.forget()
    answers[2].set_result(None)
    await question.answered()


async def test_who_asks_does_not_wait_for_the_database_and_is_not_told_for_long_that_it_lives(
    database: Database, worker: Connection, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with the second that it is, but for a machine that does much besides.
    monkeypatch.setattr(health, "READABLE_FOR_S", 4)
    async with serve(database, worker) as served:
        assert _asked(served).status_code == 200
        async with owner.transaction():
            await owner.execute("LOCK TABLE cut_off IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            first = await asyncio.to_thread(_asked, served)
            assert first.status_code == 200
            assert time.monotonic() - began < health.READABLE_FOR_S
            await asyncio.sleep(health.READABLE_FOR_S + health.READ_EVERY_S)
            then = await asyncio.to_thread(_asked, served)
            assert (then.status_code, then.headers["retry-after"]) == (503, "2")
        await asyncio.to_thread(eventually, lambda: _asked(served).status_code == 200)


async def test_a_database_that_goes_is_told_at_once(durable_server: EmbeddedServer) -> None:
    async with served_by(durable_server) as served:
        for _ in range(2):
            assert _asked(served).status_code == 200
            await asyncio.to_thread(durable_server.stop, immediate=True)
            assert _asked(served).status_code == 503
            await asyncio.to_thread(durable_server.start)
            await asyncio.to_thread(eventually, lambda: _asked(served).status_code == 200)


def _asked(served: Served) -> Response:
    return served.get("/healthz", role=None)
