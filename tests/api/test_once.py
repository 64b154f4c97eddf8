"""A write that is asked for again under its key is done once, whoever comes at once or dies."""

import asyncio
import multiprocessing
from collections import Counter
from typing import Any

import pytest
from httpx import Response

from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.api.served import Served, attempt
from tests.support.database import Database

ISSUED = {"subscription_id": "sub-acme", "at": "2023-11-16T00:00:00Z"}
ENTITY = {"entity_id": "new", "name": "New", "currency": "EUR", "zone": "UTC"}
AT_ONCE = 6


async def at_once(served: Served, path: str, body: Any) -> list[Response]:
    asked = [
        asyncio.to_thread(served.post, path, body, Idempotency_Key="the-same")
        for _ in range(AT_ONCE)
    ]
    return await asyncio.gather(*asked)


async def test_who_comes_at_once_gets_one_answer_of_one_invoice(
    served: Served, worker: Connection
) -> None:
    served.send(attempt("a"), attempt("b"))
    found = await at_once(served, "/v1/invoices", ISSUED)
    assert Counter(each.status_code for each in found) == {201: AT_ONCE}
    assert len({each.content for each in found}) == 1
    assert await worker.fetchval("SELECT count(*) FROM invoice") == 1
    other = served.post(
        "/v1/invoices", {**ISSUED, "supplementary": True}, Idempotency_Key="the-same"
    )
    assert other.status_code == 409


async def test_who_asks_for_a_run_at_once_gets_one_answer(
    served: Served, worker: Connection
) -> None:
    served.send(attempt("a"), attempt("b"))
    ask = {"entity_id": "factory", "at": "2023-11-16"}
    found = await at_once(served, "/v1/invoices/run", ask)
    assert {each.content for each in found} == {found[0].content}
    answer = found[0].json()
    assert (found[0].status_code, answer["issued"], answer["parked"]) == (200, 1, [])
    assert answer["totals"][0]["invoices"] == 1
    again = served.post("/v1/invoices/run", ask)
    assert (again.json()["issued"], again.json()["totals"]) == (0, [])
    assert served.post("/v1/invoices/run", {**ask, "entity_id": "no"}).status_code == 404
    refused = served.post("/v1/invoices/run", {**ask, "supplementary": True})
    assert refused.status_code == 422
    refused = served.post("/v1/invoices/run", {**ask, "release": ["acme"]})
    assert (refused.status_code, "why" in refused.text) == (422, True)
    released = served.post("/v1/invoices/run", {**ask, "release": ["acme"], "reason": "looked"})
    assert released.status_code == 200
    assert await worker.fetchval("SELECT count(*) FROM invoice") == 1


async def test_who_comes_at_once_enters_once(served: Served, worker: Connection) -> None:
    found = await at_once(served, "/v1/entities", ENTITY)
    assert {each.content for each in found} == {found[0].content}
    assert {each.status_code for each in found} == {201}
    assert await worker.fetchval("SELECT count(*) FROM entity WHERE entity_id = 'new'") == 1


async def test_who_comes_at_once_releases_once(served: Served, worker: Connection) -> None:
    served.send(*(attempt(f"n{n}", customer_id="later") for n in range(3)))
    customer = {"customer_id": "later", "entity_id": "factory", "name": "Later"}
    assert served.post("/v1/customers", customer).status_code == 201
    found = await at_once(served, "/v1/suspense/later/release", {})
    assert {each.content for each in found} == {found[0].content}
    assert found[0].json() == {"customer_ref": "later", "released": 3}


def test_another_question_is_another_request(served: Served) -> None:
    alias = {"alias": "a", "customer_id": "acme", "valid_from": "2023-01-01T00:00:00Z"}
    assert served.post("/v1/aliases", alias, Idempotency_Key="k").status_code == 201
    again = served.post("/v1/aliases?replace=true", alias, Idempotency_Key="k")
    assert again.status_code == 409


@pytest.mark.parametrize("table", ["invoice_line", "idempotency_key"])
async def test_who_dies_in_the_middle_has_issued_all_or_nothing(
    served: Served, apart: Served, database: Database, worker: Connection, table: str
) -> None:
    served.send(attempt("a"), attempt("b"))

    await until_it_answers(lambda: apart.get("/v1/status"))

    def issue() -> Response:
        return apart.post("/v1/invoices", ISSUED, Idempotency_Key="once")

    owner = await connect(database.superuser_url)
    try:
        async with owner.transaction():
            # Who only reads goes on; the first who writes there stops, and dies.
            await owner.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            asked = asyncio.create_task(asyncio.to_thread(issue))
            await until_it_waits(owner, asked)
            for child in multiprocessing.active_children():
                child.kill()
            broken = await asked
    finally:
        await owner.close()
    assert (broken.status_code, broken.headers["retry-after"]) == (503, "2"), broken.text
    answers = [await until_it_answers(issue) for _ in range(2)]
    assert answers[0].status_code == 201, answers[0].text
    assert answers[0].content == answers[1].content
    assert await worker.fetchval("SELECT count(*) FROM invoice") == 1


async def until_it_waits(owner: Connection, asked: "asyncio.Task[Response]") -> None:
    async with asyncio.timeout(60):
        while not await owner.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ):
            assert not asked.done(), asked.result().text
            await asyncio.sleep(0.05)


async def until_it_answers(ask: Any) -> Response:
    async with asyncio.timeout(60):
        while True:
            answer: Response = await asyncio.to_thread(ask)
            if answer.status_code != 503:
                return answer
