"""Months close and open by the API, and say what is to be done before."""

from ledger.flows.settle import settle
from ledger.store.queries import Connection
from tests.api.served import Served
from tests.flows.billing import WINDOW, subscribed
from tests.flows.test_close import LATER, MILLION

NOVEMBER = {"entity_id": "factory", "month": "2023-11"}


async def test_a_month_closes_and_opens_and_tells_what_is_left(
    served: Served, worker: Connection
) -> None:
    books = await subscribed(worker)
    await books.usage(WINDOW, MILLION)
    await settle(worker, now=LATER)
    months = served.get("/v1/entities/factory/months").json()
    assert (months["next"], months["changes"]) == ("2023-11", [])
    assert [each["name"] for each in months["matters"] if each["count"]] == ["uninvoiced"]
    refused = served.post("/v1/closes", NOVEMBER)
    assert refused.status_code == 409
    assert "uninvoiced: 1 with a period that is over" in refused.json()["detail"]
    accepting = NOVEMBER | {"accept": ["uninvoiced"]}
    assert "no reason" in served.post("/v1/closes", accepting).text
    closed = served.post("/v1/closes", accepting | {"reason": "billed by hand"})
    assert closed.status_code == 201, closed.text
    assert (closed.json()["state"], closed.json()["lines"]) == ("closed", 2)
    assert served.post("/v1/closes", NOVEMBER | {"state": "open"}).status_code == 422
    again = served.post("/v1/closes", NOVEMBER | {"state": "open", "reason": "a late reading"})
    assert again.json()["state"] == "open"
    rows = served.get("/v1/closes", params={"entity": "factory"}).json()["items"]
    assert [(row["state"], row["reason"], row["accepted"]) for row in rows] == [
        ("closed", "billed by hand", {"uninvoiced": 1}),
        ("open", "a late reading", {}),
    ]
    assert served.get("/v1/entities/nobody/months").status_code == 404
    assert served.post("/v1/closes", NOVEMBER, role="customer").status_code == 403
