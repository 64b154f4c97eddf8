"""Over HTTP whatever is dated says with `preview` what it would move, and enters nothing."""

from typing import Any

from ledger.flows.reference.keys import create_api_key
from ledger.flows.settle import settle
from ledger.store.queries import Connection
from ledger.wire.inputs import NewApiKey
from ledger.wire.preview_answers import ChangePreview
from tests.api.served import AUTHOR, Served
from tests.flows.billing import WINDOW, subscribed
from tests.flows.test_close import LATER, MILLION, closed
from tests.support.books import Books

DEARER: dict[str, Any] = {"meter": "input", "amount": "7", "valid_from": "2023-11-16T00:00:00Z"}
PRICES = "/v1/rate-cards/card-acme/prices"
ASKED = f"{PRICES}?preview=true&replace=true"


async def used(worker: Connection) -> None:
    await Books(worker).usage(WINDOW, MILLION)
    await settle(worker, now=LATER)


async def test_a_price_and_its_end_say_what_they_would_move(
    served: Served, apart: Served, worker: Connection
) -> None:
    await used(worker)
    listed = served.get(PRICES).json()
    for asked in (served, apart):
        answered = asked.post(ASKED, DEARER, role="finance")
        assert answered.status_code == 200, answered.text
        said = ChangePreview.model_validate(answered.json())
        assert [(row.account, row.name, row.before, row.after) for row in said.accounts] == [
            ("1150", "Assets:Receivable:Unbilled", "5", "7"),
            ("4000", "Income:Usage:Tokens", "-5", "-7"),
        ]
        assert [(row.customer_id, row.difference) for row in said.charges] == [("acme", "2")]
    of = {"kind": "prices", "id": "card-acme", "of": {"meter": "input"}}
    ended = served.post("/v1/ends?preview=true", of | {"valid_from": "2023-11-01T00:00:00Z"})
    assert [row["difference"] for row in ended.json()["charges"]] == ["-5"]
    assert served.get(PRICES).json() == listed


async def test_what_is_refused_is_refused_alike_and_a_reason_is_asked_for(
    served: Served, worker: Connection
) -> None:
    await used(worker)
    await closed(worker, "2023-11")
    said = served.post(ASKED, DEARER).json()
    assert "months that factory has closed" in said["needs_reason"]
    refused = served.post(f"{PRICES}?replace=true", DEARER)
    assert said["needs_reason"] in refused.json()["detail"]
    assert served.post(ASKED, DEARER, x_reason="agreed").json()["needs_reason"] is None
    for body in (DEARER | {"amount": "x"}, DEARER | {"meter": "none"}, {}):
        seen, entered = (served.post(path, body) for path in (ASKED, f"{PRICES}?replace=true"))
        assert (seen.status_code, seen.json()["detail"]) == (422, entered.json()["detail"])
    assert served.post(ASKED, DEARER, role="customer").status_code == 403
    assert served.post(f"{PRICES}?preview=maybe", DEARER).status_code == 422


async def test_changed_details_say_what_they_move_and_stay_as_they_are(
    served: Served, worker: Connection
) -> None:
    await used(worker)
    path, body = "/v1/customers/acme", {"name": "Acme Two", "valid_from": "2023-11-01"}
    shown = served.get(path).json()
    said = served.call("PATCH", f"{path}?preview=true", json=body)
    assert said.status_code == 200, said.text
    assert ChangePreview.model_validate(said.json()).accounts == []
    assert served.get(path).json() == shown
    served.call("PATCH", path, json=body)
    assert served.get(path).json() != shown


async def test_a_key_that_is_bound_to_an_entity_previews_of_its_own_alone(
    served: Served, worker: Connection
) -> None:
    await used(worker)
    await subscribed(worker, customer_id="zoe", entity_id="mill")
    made = await create_api_key(worker, NewApiKey(role="finance", entity_id="factory"), AUTHOR)
    bound = Served(served.client, served.keys | {"bound": made.text}, served.books)
    assert bound.post(ASKED, DEARER, role="bound").json() == served.post(ASKED, DEARER).json()
    others = ASKED.replace("card-acme", "card-zoe")
    assert bound.post(others, DEARER, role="bound").status_code == 403
