"""While the database is away: what needs none is answered, the rest may be sent again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from ledger.domain.parked import Failed, Parked
from ledger.embedded.postgres import EmbeddedServer
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.store.standing import change_parked, note_success
from tests.api.served import Served, attempt, serve
from tests.support.database import Database, execute, fresh_database, make_template
from tests.support.waiting import eventually

ENTITY = {"entity_id": "new", "name": "New", "currency": "EUR", "zone": "UTC"}
ISSUED = {"subscription_id": "sub-acme", "at": "2023-11-16T00:00:00Z"}


@asynccontextmanager
async def served_by(server: EmbeddedServer) -> AsyncIterator[Served]:
    template = make_template(server)
    with fresh_database(server, template) as database:
        worker = await connect(database.worker_url)
        try:
            async with serve(database, worker) as served:
                yield served
        finally:
            worker.terminate()


def _answers(served: Served, path: str) -> bool:
    return served.get(path, role=None).status_code == 200


def again_later(served: Served) -> None:
    asked = [served.get(path, role=None) for path in ("/healthz", "/readyz")]
    for answer in (*asked, served.get("/v1/entities"), served.send(attempt("x"))):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2"), answer.text


async def test_it_answers_while_the_database_is_away(durable_server: EmbeddedServer) -> None:
    async with served_by(durable_server) as served:
        assert served.send(attempt("before")).status_code == 200
        await asyncio.to_thread(durable_server.stop, immediate=True)
        try:
            assert served.get("/", role=None).status_code == 200
            again_later(served)
        finally:
            await asyncio.to_thread(durable_server.start)
        for path in ("/healthz", "/readyz"):
            await asyncio.to_thread(eventually, partial(_answers, served, path), path)
        sent = served.send(attempt("before"), attempt("x")).json()
        assert [item["outcome"] for item in sent["items"]] == ["duplicate", "created"]


@pytest.mark.parametrize(
    ("table", "method", "path", "given"),
    [
        ("entity", "GET", "/v1/entities", {}),
        ("entity", "POST", "/v1/entities", {"json": ENTITY}),
        ("entity", "POST", "/v1/entities", {"json": ENTITY, "headers": {"Idempotency-Key": "k"}}),
        ("api_key", "GET", "/v1/entities", {}),
        ("receipt", "POST", "/v1/events", {"json": [attempt("lost")]}),
        ("invoice", "GET", "/v1/invoices", {}),
        (
            "usage_delta",
            "GET",
            "/v1/usage?since=2023-11-16T00:00:00Z&until=2023-11-17T00:00:00Z",
            {},
        ),
        ("charge", "POST", "/v1/invoices", {"json": ISSUED}),
    ],
)
async def test_a_session_that_ends_in_the_middle_is_no_fault_of_the_request(
    served: Served, database: Database, table: str, method: str, path: str, given: dict[str, Any]
) -> None:
    owner = await connect(database.superuser_url)
    try:
        async with owner.transaction():
            await owner.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            asked = asyncio.create_task(asyncio.to_thread(served.call, method, path, **given))
            await end_waiting(owner, asked)
        answer = await asked
    finally:
        await owner.close()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2"), answer.text
    again = await asyncio.to_thread(served.call, method, path, **given)
    assert again.status_code in {200, 201, 409, 422}, again.text


async def end_waiting(owner: Connection, asked: "asyncio.Task[httpx.Response]") -> None:
    """End whoever waits for a lock, until the answer is there."""
    async with asyncio.timeout(60):
        while not asked.done():
            await owner.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            await asyncio.sleep(0.05)


async def test_it_is_not_ready_while_the_disk_of_the_database_has_no_room(
    database: Database, worker: Connection
) -> None:
    # What a full disk does to whoever writes to it, and can be had without one.
    await execute(
        database.superuser_url, f"ALTER DATABASE {database.name} SET temp_file_limit = '64kB'"
    )
    async with serve(database, worker) as served:
        full = served.get("/readyz", role=None)
        assert (full.status_code, full.headers["retry-after"]) == (503, "2")
        assert served.get("/healthz", role=None).status_code == 200


async def test_ready_says_when_work_last_succeeded_and_what_is_parked(
    served: Served, worker: Connection
) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    await note_success(worker, work="partitions", now=now)
    await note_success(worker, work="rate", now=now, entity_id="factory")
    failed = Failed("acme", now, now + timedelta(hours=1), "the secret reason")
    one = Parked("rate", "factory", failed, 1, now, now)
    await change_parked(worker, stage="rate", entity_id="factory", gone=[], come=[one], now=now)
    answer = served.get("/readyz", role=None)
    assert answer.status_code == 200
    body = answer.json()
    assert body["work"]["partitions"] == {
        "succeeded_at": "2026-03-02T00:00:00.000000Z",
        "failures": 0,
    }
    assert body["work"]["rate"]["succeeded_at"] == "2026-03-02T00:00:00.000000Z"
    assert body["parked"] == {"rate": 1}
    assert "factory" not in answer.text
    assert "secret" not in answer.text
