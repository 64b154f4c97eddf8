from collections.abc import Iterator

import pytest

from ledger.embedded.postgres import EmbeddedServer
from tests.support.database import Database, fresh_database


@pytest.fixture
def database(server: EmbeddedServer, template: str) -> Iterator[Database]:
    """A database of this test's own, as the migrations leave it and not a table more."""
    with fresh_database(server, template) as fresh:
        yield fresh
