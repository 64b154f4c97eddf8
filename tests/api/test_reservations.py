"""Reservations over HTTP: who may hold what, what does not fit, and many at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ledger.store.queries import Connection
from tests.api.served import Served, attempt

SINCE = "2023-01-01T00:00:00Z"


def budget(served: Served, **said: Any) -> None:
    """A budget of acme for ever, of 1,000 tokens."""
    new = {"budget_id": "b", "customer_id": "acme", "period": "ever", "unit": "tokens"}
    new |= {"amount": "1000", "valid_from": SINCE} | said
    assert served.post("/v1/budgets", new).status_code == 201


def asked(reservation_id: str = "r1", tokens: int = 600, **said: Any) -> dict[str, Any]:
    return {"reservation_id": reservation_id, "output_tokens_max": tokens} | said


async def test_it_is_held_refused_released_and_settled(served: Served) -> None:
    budget(served)
    held = served.post("/v1/reservations", asked(), role="customer")
    assert held.status_code == 201
    (hold,) = held.json()["holds"]
    assert (held.json()["customer_id"], hold["amount"], hold["left"]) == ("acme", "600", "400")
    refused = served.post("/v1/reservations", asked("r2", 401), role="customer")
    assert (refused.status_code, refused.json()["title"]) == (402, "Over budget")
    assert "needs 401 tokens of budget b, of whose 1000, 0 are used" in refused.json()["detail"]
    assert refused.json()["budget"] == {
        **{"budget_id": "b", "agent_run_id": "", "unit": "tokens", "currency": None},
        "period_start": "2000-01-01T00:00:00.000000Z",
        **{"needed": "401", "ceiling": "1000", "used": "0", "held": "600", "left": "400"},
        "reason": "refused",
    }
    released = served.post("/v1/reservations/r1/release", {}, role="customer")
    assert released.json() == {"reservation_id": "r1", "customer_id": "acme", "state": "released"}
    named = asked("r2", 401, customer_id="acme")
    assert served.post("/v1/reservations", named, role="ingest").status_code == 201
    sent = served.send(attempt("e1", reservation_id="r2"))
    assert sent.json()["counts"]["counted"] == 1
    (balance,) = served.get("/v1/budget-balances", role="customer").json()["items"]
    assert (balance["used"], balance["held"], balance["left"]) == ("1100", "0", "-100")
    states = served.get("/v1/reservations", role="customer").json()["items"]
    assert [(row["reservation_id"], row["state"]) for row in states] == [
        ("r1", "released"),
        ("r2", "settled"),
    ]
    alerts = served.get("/v1/budget-alerts", role="customer").json()["items"]
    assert [(row["kind"], row["percent"]) for row in alerts] == [
        ("refused", 0),
        ("used", 80),
        ("used", 100),
    ]


async def test_a_budget_that_is_entered_knows_for_good_what_was_used(
    served: Served, worker: Connection
) -> None:
    served.send(attempt("e1"))
    budget(served)
    (balance,) = served.get("/v1/budget-balances", role="customer").json()["items"]
    assert balance["used"] == "1100"
    # Behind its commit, where whoever was on the way is seen as well.
    assert await worker.fetchval("SELECT count(*) FROM entered_budget") == 0


async def test_a_key_reserves_and_sees_its_own_only(served: Served) -> None:
    budget(served)
    foreign = asked(customer_id="acme")
    assert served.post("/v1/reservations", foreign, role="beta").status_code == 403
    assert served.post("/v1/reservations", foreign, role="finance").status_code == 403
    assert served.post("/v1/reservations", foreign, role="customer").status_code == 201
    for path in ("budgets", "budget-balances", "reservations"):
        assert served.get(f"/v1/{path}", role="beta").json()["items"] == []
        assert len(served.get(f"/v1/{path}", role="customer").json()["items"]) == 1
    away = served.post("/v1/reservations/r1/release", {"customer_id": "acme"}, role="beta")
    assert away.status_code == 403
    assert served.post("/v1/reservations/r1/release", {}, role="beta").status_code == 404


async def test_what_is_asked_for_badly_is_named(served: Served) -> None:
    budget(served, period="run", agent_id="helper")
    for body, status, pointer in (
        (asked(tokens=0), 422, "input_tokens_max"),
        (asked(tokens=-1), 422, "output_tokens_max"),
        (asked(tokens=10**18), 422, "output_tokens_max"),
        (asked(expires_in_s=10**6), 422, "expires_in_s"),
        (asked(expires_in_s=0), 422, "expires_in_s"),
        (asked(agent_id="helper"), 422, "agent_run_id"),
        (asked(agent_id="helper", agent_run_id="run", tokens=1001), 402, "input_tokens_max"),
    ):
        refused = served.post("/v1/reservations", body, role="customer")
        said = refused.json()
        assert refused.status_code == status, (body, said)
        assert pointer in {said.get("pointer"), *(e["pointer"] for e in said.get("errors", []))}
    assert served.post("/v1/reservations", asked()).status_code == 404
    assert served.post("/v1/reservations", asked(customer_id="nobody")).status_code == 404


async def test_budgets_that_cannot_be_are_refused(served: Served) -> None:
    new = {"budget_id": "b", "customer_id": "acme", "period": "day", "unit": "tokens"}
    new |= {"amount": "5", "valid_from": SINCE}
    for change, pointer in (
        ({"amount": "-1"}, "amount"),
        ({"amount": "0.5"}, "amount"),
        ({"unit": "money", "amount": "0.0000000000001"}, "amount"),
        ({"currency": "USD"}, "currency"),
        ({"anchor_day": 3}, "anchor_day"),
        ({"period": "month", "anchor_day": 32}, "anchor_day"),
        ({"times_own_mean": "0.5"}, "times_own_mean"),
        ({"alert_percents": [0]}, "alert_percents.0"),
    ):
        refused = served.post("/v1/budgets", new | change)
        assert refused.status_code == 422, change
        assert pointer in {each["pointer"] for each in refused.json()["errors"]}, refused.text


async def test_many_at_once_take_what_there_is(served: Served) -> None:
    budget(served)
    with ThreadPoolExecutor(16) as pool:
        names = [f"r{n % 150}" for n in range(200)]
        answers = pool.map(
            lambda name: served.post("/v1/reservations", asked(name, 10), role="customer"), names
        )
        statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {201, 402}
    (balance,) = served.get("/v1/budget-balances", role="customer").json()["items"]
    assert (balance["held"], balance["left"]) == ("1000", "0")
