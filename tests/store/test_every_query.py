"""Every query of the store is understood by the schema as it stands."""

from importlib.resources import files

import pytest

from ledger.store.queries import Connection, load_queries

ROOMS = sorted(
    path.name.removesuffix(".sql")
    for path in (files("ledger.store") / "sql").iterdir()
    if path.name.endswith(".sql")
)


@pytest.mark.parametrize("room", ROOMS)
async def test_every_query_of_a_room_prepares_for_the_worker(worker: Connection, room: str) -> None:
    refused = {}
    for query in load_queries(room).values():
        try:
            await worker.prepare(query.sql)
        except Exception as error:
            refused[query.name] = str(error)
    assert refused == {}
