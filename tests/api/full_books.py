"""Books in which every list has a row and every report says something, for tests of answers."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from typing import Any

from ledger import clock
from ledger.domain.billing.webhook import Answer, Outcome
from ledger.flows.billing.deliver import deliver
from ledger.flows.billing.dun import run_dunning
from ledger.flows.settle import settle
from ledger.store.queries import Connection
from tests.api.served import AUTHOR, Served, attempt
from tests.support.bills import enter_bill
from tests.support.statements import DAY, IBAN, entry, statement
from tests.support.weights import enter_idle, enter_measured

SINCE = datetime(2023, 11, 16, 18, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=1)
NOW = datetime(2023, 12, 2, tzinfo=UTC)
PERIOD = {"since": "2023-11-16T18:00:00Z", "until": "2023-11-16T19:00:00Z"}
ENGINE = {"name": "vllm", "instance": "engine-f"}
ISSUE = {"subscription_id": "sub-acme", "at": "2023-11-16"}
RATES = {
    "rates": [
        {"base": "EUR", "quote": "USD", "day": "2023-11-16", "rate": "1.0872", "source": "ECB"}
    ]
}
TAX = {
    "/v1/tax-rates": {"percent": "23"},
    "/v1/tax-registrations": {"entity_id": "factory", "tax_number": "IE6433435F"},
    "/v1/tax-treatments": {"customer_id": "acme", "treatment": "standard"},
}


async def fill(served: Served, worker: Connection) -> None:
    """Hardware, readings, usage, an invoice, and something of everything that waits."""
    await _hardware(served)
    served.post("/v1/aliases", {"alias": "crm/7 ü", "customer_id": "acme", "valid_from": FROM})
    lab = {"customer_id": "lab", "entity_id": "factory", "name": "Lab"}
    assert served.post("/v1/customers", lab).status_code == 201
    child = {"customer_id": "lab", "parent_id": "acme", "valid_from": FROM}
    assert served.post("/v1/parents", child).status_code == 201
    served.post("/v1/fx-rates", RATES)
    _listen(served)
    _hold(served)
    _send(served, attempt("first", engine=ENGINE), attempt("second", engine=ENGINE))
    # So that something is left to pay beyond the credit.
    searched = {"input": {"uncached": 20_000}, "other": {"web_search.requests": 2}}
    _send(served, attempt("more", usage=searched))
    _tax(served)
    await settle(worker, now=NOW)
    assert served.post("/v1/invoices", ISSUE).status_code == 201
    await _remind(served, worker)
    _pay_and_credit(served)
    _take_statement(served)
    assert (await deliver(worker, post=_nobody, now=NOW + timedelta(days=9_999))).failed == 2
    cached = {"input": {"uncached": 5, "cache_read": 7}, "output": {"visible": 1}}
    _send(
        served,
        attempt("late", engine=ENGINE, agent=RUN, project_id="p"),
        attempt("without a price", usage=cached),
        attempt("of nobody", customer_id="walk-in"),
        attempt("first", usage={"input": {"uncached": 7}}),
        b"{nothing",
    )
    await settle(worker, now=NOW)


FROM = "2023-01-01T00:00:00Z"
# An invoice with tax that goes out as UBL beside its PDF.
DETAILS = {
    "/v1/entities/factory": {"electronic_address": "0088:5790000435968"},
    "/v1/customers/acme": {
        **{"electronic_address": "9930:DE136695976", "buyer_reference": "Order 7"},
        "e_invoice": "peppol",
    },
}


def _tax(served: Served) -> None:
    for path, said in TAX.items():
        answer = served.post(path, {**said, "country": "IE", "valid_from": FROM})
        assert answer.status_code == 201, answer.text
    for path, said in DETAILS.items():
        change = {**said, "country": "IE", "valid_from": "2023-01-01"}
        answer = served.call("PATCH", path, json=change)
        assert answer.status_code == 200, answer.text


def notice_id(entity: str, payment_id: str) -> str:
    """The id of the notice of a payment."""
    return md5(f"payment.received/{entity}/{payment_id}".encode()).hexdigest()


def entry_id(entity: str) -> str:
    """The id of the entry of one dollar of an entity's account that the bank calls R1."""
    said = (entity, IBAN, "R1", DAY, "USD", "1.00")
    return sha256("\x1f".join(said).encode()).hexdigest()[:32]


def _listen(served: Served) -> None:
    hook = {"webhook_id": "erp", "entity_id": "factory", "url": "https://hooks.example.com/"}
    events = ["invoice.issued", "payment.received"]
    entered = served.post("/v1/webhooks", hook | {"events": events})
    assert entered.status_code == 201, entered.text
    assert served.post("/v1/webhooks/erp/secret", {}).status_code == 201


def _take_statement(served: Served) -> None:
    change = {"valid_from": "2023-01-01", "payment_account": IBAN}
    assert served.call("PATCH", "/v1/entities/factory", json=change).status_code == 200
    content = statement(entry("1.00", "of nobody", ref="R1"))
    path = "/v1/bank-statements?entity=factory"
    taken = served.call("POST", path, content=content)
    assert taken.status_code == 201, taken.text


async def _remind(served: Served, worker: Connection) -> None:
    policy = {"entity_id": "factory", "reminder_days": [1], "valid_from": FROM}
    assert served.post("/v1/dunning-policies", policy).status_code == 201
    late = clock.now() + timedelta(days=90)
    done = await run_dunning(worker, entity_id="factory", now=late, author=AUTHOR)
    assert len(done.letters) == 1
    disputed = served.post("/v1/invoices/1/disputes", {"reason": "not ours", "line_no": 1})
    assert disputed.status_code == 201, disputed.text
    months = served.get("/v1/entities/factory/months").json()
    ask = {"entity_id": "factory", "month": months["next"], "state": "soft_closed"}
    assert served.post("/v1/closes", ask).status_code == 201


async def _nobody(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    return Answer(Outcome.FAILED, 503, "answered 503")


def _hold(served: Served) -> None:
    granted = {"entity_id": "factory", "grant_id": "credit-1", "customer_id": "acme"}
    of_day = {"granted_on": "2023-01-01", "currency": "USD", "amount": "0.01", "models": ["m"]}
    low = {"customer_id": "acme", "currency": "USD", "low_balance": "1", "valid_from": FROM}
    for path, body in (("grants", granted | of_day), ("top-up-rules", low)):
        assert served.post(f"/v1/{path}", body).status_code == 201
    budget = {"budget_id": "tight", "customer_id": "acme", "period": "month", "unit": "tokens"}
    entered = served.post("/v1/budgets", budget | {"amount": "1000", "valid_from": FROM})
    assert entered.status_code == 201, entered.text
    held = {"reservation_id": "res-1", "customer_id": "acme", "output_tokens_max": 100}
    assert served.post("/v1/reservations", held).status_code == 201


def _pay_and_credit(served: Served) -> None:
    paid = {"entity_id": "factory", "payment_id": "bank-1", "customer_id": "acme"}
    told = {"paid_on": "2023-12-01", "currency": "USD", "amount": "0.01"}
    assert served.post("/v1/payments", paid | told).status_code == 201
    credited = served.post("/v1/invoices/1/credit-notes", {"reason": "goodwill"})
    assert credited.status_code == 201, credited.text


async def _hardware(served: Served) -> None:
    books = served.books
    await books.facility()
    await books.pue(SINCE, UNTIL, host_mw_per_gpu=50_000)
    await books.energy_meter("GPU-a", SINCE, UNTIL)
    await books.tariff([(SINCE, UNTIL, "100")], currency="USD")
    await books.owned(SINCE, UNTIL, gpu_count=2, currency="USD")
    await books.site_cost("rent", SINCE, UNTIL, currency="USD")
    await enter_bill(books.connection, "2023-11-16", "0.10", currency="USD", final=False)
    for kind in ("carbon_location", "carbon_market", "water"):
        await books.grid_factor(kind, SINCE, UNTIL, "400")
    await books.deployment(SINCE, UNTIL, gpus=["GPU-a", "GPU-b"], instances=["engine-f"])
    await enter_measured(books.connection, SINCE, UNTIL)
    await enter_idle(books.connection, SINCE, "use")
    seconds = range(0, 3_601, 10)
    for gpu, power_mw in (("GPU-a", 400_000), ("GPU-b", 0)):
        rises = [(SINCE + timedelta(seconds=n), 10**7 + n * power_mw) for n in seconds]
        await books.readings(gpu, rises, power_mw=400_000)
    scraped = [(SINCE, 1_000), (SINCE + timedelta(minutes=30), 3_100)]
    await books.counters("engine-f", [(at, "prompt_tokens", value) for at, value in scraped])


RUN = {"id": "helper", "run_id": "run-1", "parent_run_id": "run-0", "step": 3}


def _send(served: Served, *events: Any) -> None:
    assert served.send(*events, role="admin").status_code == 200


def cursor(*place: Any) -> str:
    """A cursor as the API makes it."""
    text = str(list(place)).replace("'", '"')
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
