"""While the database is away: what needs none is answered, the rest may be sent again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ledger.store.connect import connect
from ledger.store.postgres import EmbeddedServer
from tests.api.served import Served, attempt, serve
from tests.support.database import fresh_database, make_template


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


def again_later(served: Served) -> None:
    for answer in (served.get("/readyz", role=None), served.send(attempt("x"))):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2"), answer.text


async def test_it_answers_while_the_database_is_away(durable_server: EmbeddedServer) -> None:
    async with served_by(durable_server) as served:
        assert served.send(attempt("before")).status_code == 200
        await asyncio.to_thread(durable_server.stop, immediate=True)
        try:
            for path in ("/metrics", "/healthz"):
                assert served.get(path, role=None).status_code == 200
            again_later(served)
        finally:
            await asyncio.to_thread(durable_server.start)
        assert served.get("/readyz", role=None).status_code == 200
        sent = served.send(attempt("before"), attempt("x")).json()
        assert [item["outcome"] for item in sent["items"]] == ["duplicate", "created"]
