"""What waits can be seen and decided over the API, with a reason and by the house alone."""

from typing import Any

import pytest

from tests.api.served import Served, attempt

WHY = {"reason": "the provider used its id twice"}


async def test_a_conflict_is_listed_with_both_sides_and_resolved(served: Served) -> None:
    served.send(attempt("x"))
    other = attempt("x", usage={"input": {"uncached": 7}})
    assert served.send(other).json()["items"][0]["outcome"] == "conflict"
    (listed,) = served.get("/v1/conflicts").json()["items"]
    path = f"/v1/conflicts/{listed['conflict_id']}"
    shown = served.get(path).json()
    assert shown["stored"][0]["uncached"] == 1000
    assert shown["offered"][0]["data"]["usage"]["input"]["uncached"] == 7
    done = served.post(f"{path}/resolve", {"resolution": "corrected", **WHY})
    assert (done.status_code, done.json()["events"]) == (200, ["created"])
    assert served.get("/v1/conflicts").json()["items"] == []
    (listed,) = served.get("/v1/conflicts", params={"resolved": "true"}).json()["items"]
    assert listed["reason"] == WHY["reason"]
    assert served.post(f"{path}/resolve", {"resolution": "kept", **WHY}).status_code == 409


async def test_what_is_refused_and_what_is_nameless_are_dismissed(served: Served) -> None:
    served.send(b"{nothing", attempt("n", customer_id=None))
    (listed,) = served.get("/v1/quarantine").json()["items"]
    path = f"/v1/quarantine/{listed['quarantine_id']}/dismiss"
    assert served.post(path, WHY).json()["dismissed"] == 1
    assert served.get("/v1/quarantine").json()["items"] == []
    (listed,) = served.get("/v1/suspense").json()["items"]
    assert listed["customer_ref"] == ""
    assert served.post("/v1/suspense/dismiss", {"customer_ref": "", **WHY}).status_code == 200
    assert served.get("/v1/suspense").json()["items"] == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/conflicts/1/resolve", {"resolution": "kept", "reason": ""}, 422),
        ("/v1/conflicts/1/resolve", {"resolution": "guessed", **WHY}, 422),
        ("/v1/conflicts/1/resolve", {"resolution": "kept", "reason": "a\0b"}, 422),
        ("/v1/conflicts/1/resolve", {"resolution": "kept", **WHY}, 404),
        ("/v1/quarantine/1/dismiss", WHY, 404),
        ("/v1/quarantine/1/dismiss", {}, 422),
        ("/v1/suspense/dismiss", {"customer_ref": "nobody", **WHY}, 404),
    ],
)
async def test_a_decision_is_refused_in_one_line(
    served: Served, path: str, body: dict[str, Any], status: int
) -> None:
    assert served.post(path, body).status_code == status
    for role in ("ingest", "customer"):
        assert served.post(path, body, role=role).status_code == 403
