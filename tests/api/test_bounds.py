"""What is out of bounds is refused by the API with the name of its field, and nothing is stored."""

from ledger.store.queries import Connection
from tests.api.served import Served
from tests.support.far_inputs import FAR_INPUTS, FAR_PERIODS

PATHS = {
    **{"entities": "/v1/entities", "pue": "/v1/pues", "assets": "/v1/assets"},
    **{"deployments": "/v1/deployments", "subscriptions": "/v1/subscriptions"},
    **{"aliases": "/v1/aliases", "fx": "/v1/fx-rates", "rate-card": "/v1/rate-cards/{}/prices"},
}


async def test_every_door_of_the_api_refuses_it_by_name(served: Served, worker: Connection) -> None:
    before = await worker.fetchval("SELECT count(*) FROM manual_write")
    for far in FAR_INPUTS:
        body = dict(far.row)
        path = PATHS[far.kind].format(body.get("rate_card_id"))
        if far.kind == "rate-card":
            del body["rate_card_id"]
        answer = served.post(path, {"rates": [body]} if far.kind == "fx" else body)
        assert answer.status_code == 422, (str(far), answer.text)
        assert [e["pointer"].rpartition(".")[2] for e in answer.json()["errors"]] == [far.field]
    for far in FAR_PERIODS:
        answer = served.post("/v1/tariffs/spot/prices", {"prices": [dict(far.row)]})
        assert answer.status_code == 422, (str(far), answer.text)
        assert far.field in answer.text
    assert await worker.fetchval("SELECT count(*) FROM manual_write") == before
