from collections.abc import AsyncIterator

import pytest

from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.support.database import Database


@pytest.fixture
async def superuser(database: Database) -> AsyncIterator[Connection]:
    """Someone whom no trigger holds back."""
    connection = await connect(database.superuser_url)
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()
