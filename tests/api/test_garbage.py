"""A request that was answered leaves nothing that knows itself: such things stay until somebody
looks for them, and everybody waits meanwhile."""

import gc
import http.client
import json
import time
from collections import Counter
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ledger.api.arriving import Arriving
from ledger.store.queries import Connection
from tests.api.test_connections import over
from tests.support.database import Database
from tests.support.waiting import LOOK_S

TIMES, JSON = 5, "application/json"
PATIENCE_S = 5
EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/gateways/a",
    "type": "inference.usage.v1",
    "time": "2026-07-07T00:00:00Z",
    "data": {"customer_id": "acme", "served_model": "m", "usage": {"input": {"uncached": 1}}},
}


class Ask(NamedTuple):
    """A request, with the body that it has."""

    method: str
    path: str
    body: bytes | None = None


ASKED = (
    Ask("POST", "/v1/events", json.dumps(EVENT).encode()),
    Ask("POST", "/v1/events", b"{}"),
    Ask("POST", "/v1/events", b""),
    Ask("POST", "/v1/reservations", b'{"reservation_id": "r"}'),
    Ask("GET", "/healthz"),
    Ask("GET", "/v1/customers?limit=1"),
    Ask("GET", "/v1/customers?limit=0"),
    Ask("GET", "/v1/usage?since=2026-07-07T00:00:00Z&until=2026-07-08T00:00:00Z&by=day"),
    Ask("GET", "/nowhere"),
)


async def test_what_was_answered_is_gone_with_its_answer(
    database: Database, worker: Connection
) -> None:
    async with over(database, worker) as (port, served):
        key = served.keys["admin"]
        left = {(ask.method, ask.path, ask.body): _left(port, key, ask) for ask in ASKED}
    assert not {ask: kinds for ask, kinds in left.items() if kinds}


def _left(port: int, key: str, ask: Ask) -> dict[str, int]:
    gc.collect()
    gc.disable()
    try:
        for _ in range(TIMES):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request(*ask, {"Authorization": f"Bearer {key}", "Content-Type": JSON})
            connection.getresponse().read()
            connection.close()
        # The server is done with the last a moment after that is read.
        end = time.monotonic() + PATIENCE_S
        while (left := _alive()) and time.monotonic() < end:
            time.sleep(LOOK_S)
        return left
    finally:
        gc.enable()


def _alive() -> dict[str, int]:
    kinds = (Arriving, RequestResponseCycle)
    return dict(Counter(type(each).__name__ for each in gc.get_objects() if type(each) in kinds))
