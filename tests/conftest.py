"""What every test may ask for: a migrated database, a broker, the published data."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ledger.store.connect import connect
from ledger.store.postgres import EmbeddedServer, embedded_server
from ledger.store.queries import Connection
from tests.support.database import (
    FAST,
    Database,
    fresh_database,
    make_template,
    shared_data_folder,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """An embedded PostgreSQL for the session: fast, not durable."""
    with embedded_server(tmp_path_factory.mktemp("pg"), FAST) as running:
        yield running


@pytest.fixture(scope="session")
def durable_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """An embedded PostgreSQL that waits for the disk, for tests that stop, kill and restart it."""
    with embedded_server(tmp_path_factory.mktemp("durable")) as running:
        yield running


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    return make_template(server)


@pytest.fixture
def database(server: EmbeddedServer, template: str) -> Iterator[Database]:
    """A database of this test's own, as the migrations leave it."""
    with fresh_database(server, template) as fresh:
        yield fresh


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await connect(database.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Connection]:
    connection = await connect(database.worker_url)
    yield connection
    await connection.close()


@pytest.fixture
async def api(database: Database) -> AsyncIterator[Connection]:
    connection = await connect(database.api_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published data sets; without it the test is skipped, loudly."""
    folder = shared_data_folder(os.environ.get("TOKENLEDGER_TEST_DATA"), ROOT)
    if folder is None:
        pytest.skip(
            "SKIPPED FOR WANT OF DATA: set TOKENLEDGER_TEST_DATA to the published data sets"
        )
    return folder
