"""A served API with a key of every role, for tests that speak HTTP."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from httpx import Response
from litestar import Litestar
from litestar.testing import TestClient

from ledger import clock
from ledger.api.app import create_app
from ledger.domain.author import Author
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.reference.keys import create_api_key
from ledger.settings import Settings
from ledger.store.queries import Connection
from ledger.wire.inputs import NewApiKey
from tests.api.held import hold
from tests.flows.billing import subscribed
from tests.support.books import Books
from tests.support.database import Database

AUTHOR = Author("cli:test", "for a test", "req-1")
SOURCE = "/gateways/a"
ROLES = ("admin", "finance", "ingest", "customer")
# Apps that nobody uses now, each with the settings that it reads when it starts.
_idle: defaultdict[int, list[tuple[Settings, Litestar]]] = defaultdict(list)


@dataclass(frozen=True, slots=True)
class Served:
    """A client, and the key of each role; the customer key is acme's."""

    client: TestClient[Litestar]
    keys: dict[str, str]
    books: Books

    def call(self, method: str, path: str, *, role: str | None = "admin", **given: Any) -> Response:
        """One request as a role; None sends no key."""
        headers = dict(given.pop("headers", {}))
        if role is not None:
            headers["Authorization"] = f"Bearer {self.keys[role]}"
        return self.client.request(method, path, headers=headers, **given)

    def get(self, path: str, *, role: str | None = "admin", **given: Any) -> Response:
        return self.call("GET", path, role=role, **given)

    def post(self, path: str, body: Any, *, role: str = "admin", **headers: str) -> Response:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.call("POST", path, role=role, json=body, headers=sent)

    def send(self, *events: Any, role: str = "ingest", **headers: str) -> Response:
        """Events as NDJSON; bytes go as they are."""
        lines = [e if isinstance(e, bytes) else json.dumps(e).encode() for e in events]
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        sent = {"Content-Type": "application/x-ndjson", **named}
        return self.call("POST", "/v1/events", role=role, content=b"\n".join(lines), headers=sent)


async def fill(worker: Connection) -> dict[str, str]:
    """Two customers on cards, and keys of every role: their texts."""
    await prepare_storage(worker, now=clock.now())
    await subscribed(worker)
    await subscribed(worker, customer_id="beta")
    wanted = {
        "admin": NewApiKey(role="admin"),
        "finance": NewApiKey(role="finance"),
        "ingest": NewApiKey(role="ingest", sources=(SOURCE,)),
        "customer": NewApiKey(role="customer", customer_id="acme"),
        "beta": NewApiKey(role="customer", customer_id="beta"),
    }
    return {n: (await create_api_key(worker, new, AUTHOR)).text for n, new in wanted.items()}


@asynccontextmanager
async def serve(
    database: Database, worker: Connection, keys: Mapping[str, str] | None = None
) -> AsyncIterator[Served]:
    """The app over what `fill` leaves; `keys` are those of a database that was filled before."""
    known = await fill(worker) if keys is None else keys
    settings = Settings(worker_url=database.worker_url, api_url=database.api_url, body_limit_mib=1)
    with (
        application(settings) as app,
        TestClient(app, raise_server_exceptions=False) as client,
    ):
        client.event_hooks = {"request": [], "response": [hold]}
        yield Served(client, dict(known), Books(worker))


@contextmanager
def application(settings: Settings) -> Iterator[Litestar]:
    """An app by these settings; it takes longer to make than most tests, and is used again."""
    idle = _idle[settings.body_limit_mib]
    own, app = idle.pop() if idle else (settings, create_app(settings))
    for name in Settings.model_fields:
        setattr(own, name, getattr(settings, name))
    yield app
    idle.append((own, app))


def attempt(event_id: str, **data: Any) -> dict[str, Any]:
    """A usage event of acme on 16 November 2023."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": "inference.usage.v1",
        "time": "2023-11-16T18:17:03Z",
        "data": {
            "customer_id": "acme",
            "served_model": "llama",
            "usage": {"input": {"uncached": 1000}, "output": {"visible": 100}},
            **data,
        },
    }
