from collections.abc import AsyncIterator, Iterator

import pytest
from litestar.testing import TestClient

from ledger.api.app import create_app
from ledger.api.state import Beside
from ledger.commands.serve.intake_process import intake_process
from ledger.commands.serve.report_process import report_process
from ledger.settings import Settings
from ledger.store.queries import Connection
from tests.api.held import hold
from tests.api.served import Served, serve
from tests.support.database import Database


@pytest.fixture
async def served(database: Database, worker: Connection) -> AsyncIterator[Served]:
    async with serve(database, worker) as found:
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
