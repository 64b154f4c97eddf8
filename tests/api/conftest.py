from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
from litestar.testing import TestClient

from ledger.api.app import create_app
from ledger.api.state import Beside
from ledger.commands.serve.intake_process import intake_process
from ledger.commands.serve.report_process import report_process
from ledger.embedded.postgres import EmbeddedServer
from ledger.settings import Settings
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.api.held import hold
from tests.api.served import Served, fill, serve
from tests.support.database import Database, fresh_database, run_apart


class Filled(NamedTuple):
    """A database to copy, and the keys in it by role."""

    template: str
    keys: dict[str, str]


@pytest.fixture(scope="session")
def filled(server: EmbeddedServer, roomy: str) -> Iterator[Filled]:
    """What everything served has in it, made once."""
    with fresh_database(server, roomy) as database:
        yield Filled(database.name, run_apart(_fill(database)))


async def _fill(database: Database) -> dict[str, str]:
    worker = await connect(database.worker_url)
    try:
        return await fill(worker)
    finally:
        await worker.close()


@pytest.fixture
def begins_with(request: pytest.FixtureRequest, roomy: str) -> str:
    """What is served is filled."""
    if "served" not in request.fixturenames:
        return roomy
    filled: Filled = request.getfixturevalue("filled")
    return filled.template


@pytest.fixture
async def served(database: Database, worker: Connection, filled: Filled) -> AsyncIterator[Served]:
    async with serve(database, worker, filled.keys) as found:
        yield found


@pytest.fixture
def apart(served: Served, database: Database) -> Iterator[Served]:
    """The same books, served by an application with the processes of a server beside it."""
    settings = Settings(worker_url=database.worker_url, api_url=database.api_url)
    with (
        intake_process(settings) as intake,
        report_process(settings) as reports,
        TestClient(
            create_app(settings, beside=Beside(reports, intake)), raise_server_exceptions=False
        ) as client,
    ):
        client.event_hooks = {"request": [], "response": [hold]}
        yield Served(client, served.keys, served.books)
