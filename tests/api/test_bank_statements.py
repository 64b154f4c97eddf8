"""Statements of banks over HTTP: taken once, of one's own account, or refused whole."""

import pytest

from tests.api.served import Served
from tests.support.statements import IBAN, entry, statement

PATH = "/v1/bank-statements?entity=factory"
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<Document><BkToCstmrStmt><Stmt><Id>&x;</Id></Stmt></BkToCstmrStmt></Document>"""


def say_account(served: Served) -> None:
    change = {"valid_from": "2023-01-01", "payment_account": IBAN}
    assert served.call("PATCH", "/v1/entities/factory", json=change).status_code == 200


async def test_a_statement_is_taken_once_and_what_waits_is_settled_by_a_person(
    served: Served,
) -> None:
    say_account(served)
    content = statement(entry("5.00", "hello", ref="R1"), entry("6.00", "fee", ref="R2"))
    first = served.call("POST", PATH, content=content).json()
    assert (first["taken"], first["known"], len(first["outcomes"])) == (2, 0, 2)
    again = served.call("POST", PATH, content=content).json()
    assert (again["taken"], again["known"], again["outcomes"]) == (0, 2, [])
    rows = served.get("/v1/bank-entries").json()["items"]
    assert {row["state"] for row in rows} == {"waiting"}
    hello = next(row for row in rows if row["reference"].startswith("hello"))
    fee = next(row for row in rows if row["reference"].startswith("fee"))
    path = f"/v1/bank-entries/{hello['entry_id']}"
    matched = served.post(f"{path}/match", {"customer_id": "acme"})
    assert (matched.status_code, matched.json()["payments"]) == (201, ["R1"])
    assert served.post(f"{path}/match", {"customer_id": "acme"}).status_code == 409
    unknown = f"/v1/bank-entries/{fee['entry_id']}/match"
    assert served.post(unknown, {"customer_id": "nobody"}).status_code == 404
    gone = served.post(f"/v1/bank-entries/{fee['entry_id']}/dismiss", {"reason": "a fee"})
    assert gone.status_code == 200
    now = served.get(path).json()["now"]
    assert (now["state"], now["payments"]) == ("paid", ["R1"])
    assert served.get(f"/v1/bank-entries/{fee['entry_id']}").json()["now"]["reason"] == "a fee"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (OUTSIDE, 422),
        (b"", 422),
        (b"{}", 422),
        (statement(entry("1.00", "x", ref="R1"), account="DE89370400440532013000"), 409),
        (statement(entry("1.00", "x", ref="R1"), balances=("1.00", "9.00")), 422),
    ],
    ids=["entity", "empty", "json", "another account", "balances"],
)
async def test_what_is_no_statement_of_ours_is_refused_whole(
    served: Served, content: bytes, status: int
) -> None:
    say_account(served)
    refused = served.call("POST", PATH, content=content)
    assert refused.status_code == status, refused.text
    assert served.get("/v1/bank-entries").json()["items"] == []
