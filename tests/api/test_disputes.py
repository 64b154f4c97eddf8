"""Disputes over HTTP: opened and resolved by the house, seen by the customer whose they are."""

from datetime import UTC, datetime

from ledger.flows.settle import settle
from ledger.store.queries import Connection
from tests.api.served import Served, attempt

LATER = datetime(2023, 12, 2, tzinfo=UTC)
WRONG = {"reason": "these tokens were a test of yours"}


async def issue(served: Served, worker: Connection) -> int:
    much = attempt("much", usage={"input": {"uncached": 2_000_000}})
    assert served.send(much, role="admin").status_code == 200
    await settle(worker, now=LATER)
    issued = served.post("/v1/invoices", {"subscription_id": "sub-acme", "at": "2023-11-16"})
    assert issued.status_code == 201, issued.text
    return int(issued.json()["invoice_id"])


async def test_a_dispute_is_opened_once_seen_and_resolved(
    served: Served, worker: Connection
) -> None:
    invoice_id = await issue(served, worker)
    path = f"/v1/invoices/{invoice_id}/disputes"
    opened = served.post(path, {**WRONG, "line_no": 1}, role="finance")
    assert (opened.status_code, opened.json()["line_no"]) == (201, 1), opened.text
    assert served.post(path, {**WRONG, "line_no": 1}).status_code == 409
    (row,) = served.get("/v1/disputes", role="customer").json()["items"]
    assert (row["reason"], row["outcome"], row["line_no"]) == (WRONG["reason"], None, 1)
    assert served.get("/v1/disputes", role="beta").json()["items"] == []
    (owed,) = served.get("/v1/receivables", params={"entity": "factory"}).json()["customers"]
    assert owed["disputed"] == owed["owed"] == "10.00"
    path = f"/v1/disputes/{row['dispute_id']}/resolution"
    ended = {"outcome": "rejected", "reason": "the usage statement says so"}
    assert served.post(path, ended).json()["outcome"] == "rejected"
    assert served.post(path, ended).status_code == 409
    (row,) = served.get("/v1/disputes", role="customer").json()["items"]
    assert (row["outcome"], row["resolution"]) == ("rejected", ended["reason"])


async def test_what_cannot_be_disputed_is_refused_by_name(
    served: Served, worker: Connection
) -> None:
    invoice_id = await issue(served, worker)
    path = f"/v1/invoices/{invoice_id}/disputes"
    for body, status in (
        *(({}, 422), ({"reason": " "}, 422), ({**WRONG, "line_no": 0}, 422)),
        *(({**WRONG, "line_no": 9}, 404), ({**WRONG, "lines": [1]}, 422)),
    ):
        refused = served.post(path, body)
        assert refused.status_code == status, refused.text
    assert served.post("/v1/invoices/99/disputes", WRONG).status_code == 404
    assert served.post(path, WRONG, role="customer").status_code == 403
    path = "/v1/disputes/1/resolution"
    assert served.post(path, {"outcome": "rejected", "reason": "r"}).status_code == 404
    assert served.post(path, {"outcome": "credited", "reason": "r"}).status_code == 422
    assert served.get("/v1/disputes").json()["items"] == []
