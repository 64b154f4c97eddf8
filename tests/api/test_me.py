"""A key is told what it is, whatever its role, and what it is bound to."""

from typing import Any

from ledger.flows.reference.keys import create_api_key
from ledger.store.queries import Connection
from ledger.wire.inputs import NewApiKey
from tests.api.served import AUTHOR, Served

UNBOUND: dict[str, Any] = {
    "entity_id": None,
    "customer_id": None,
    "sources": [],
    "customers": [],
    "tier": None,
}


async def test_every_role_is_told_which_it_is(served: Served) -> None:
    for role in ("admin", "finance"):
        said = served.get("/v1/me", role=role).json()
        assert said == UNBOUND | {"role": role, "key_id": served.keys[role].split("_")[1]}
    customer = served.get("/v1/me", role="customer").json()
    assert (customer["role"], customer["customer_id"]) == ("customer", "acme")
    sender = served.get("/v1/me", role="ingest").json()
    assert sender["role"] == "ingest"
    assert sender["sources"]


async def test_a_bound_key_is_told_its_entity_and_no_key_is_told_nothing(
    served: Served, worker: Connection
) -> None:
    made = await create_api_key(worker, NewApiKey(role="finance", entity_id="factory"), AUTHOR)
    bound = Served(served.client, served.keys | {"bound": made.text}, served.books)
    assert bound.get("/v1/me", role="bound").json()["entity_id"] == "factory"
    assert served.get("/v1/me", role=None).status_code == 401
