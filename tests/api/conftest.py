from collections.abc import AsyncIterator

import pytest

from ledger.store.queries import Connection
from tests.api.served import Served, serve
from tests.support.database import Database


@pytest.fixture
async def served(database: Database, worker: Connection) -> AsyncIterator[Served]:
    async with serve(database, worker) as found:
        yield found
