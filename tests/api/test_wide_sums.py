"""Usage that adds up to more than 64 bits hold is shown, charged, invoiced and proved to the unit.

Every record stays within what is accepted; only their number makes the sums wide.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.metering.fact import MARKS
from ledger.exports import EXPORT_FORMATS
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.books.check_books import check_books
from ledger.flows.metering.check import check_windows
from ledger.flows.metering.fold import fold
from ledger.flows.metering.release import dismiss_suspense
from ledger.flows.settle import settle
from ledger.reports.grouped import USAGE, Grouping, Totals
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.usage import LEAF_TOKENS_MAX
from tests.api.served import SOURCE, Served
from tests.flows.billing import AUTHOR, DECEMBER, NOVEMBER, NOW, subscribed

BATCHES = 12
# Each event stands for a million of its like, which ten full bodies bring.
ALIKE = 10**6
EACH = LEAF_TOKENS_MAX * ALIKE
SUM = BATCHES * EACH
PERIOD = {"since": "2023-11-16T00:00:00Z", "until": "2023-11-17T00:00:00Z"}
WIDENED = {
    "usage_fact": ("requests", "uncached", "visible"),
    "usage_delta": ("requests", "uncached", "visible"),
    "usage_mark": tuple(MARKS),
}


def largest(event_id: str, customer_id: str) -> dict[str, Any]:
    """An event with as many tokens as any may have."""
    tokens = {"input": {"uncached": LEAF_TOKENS_MAX}, "output": {"visible": LEAF_TOKENS_MAX}}
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": "inference.usage.v1",
        "time": "2023-11-16T18:17:03Z",
        "data": {
            "customer_id": customer_id,
            "served_model": "llama",
            "requests": 10**9,
            "usage": {**tokens, "source": "char_estimate", "complete": False},
        },
    }


@pytest.fixture
async def wide(served: Served, worker: Connection, superuser: Connection) -> Served:
    """Usage of a customer with a cheap price, of one without any, and of nobody known."""
    await subscribed(worker, customer_id="cheap", prices=("0.000001", "0.000001"))
    await subscribed(worker, customer_id="unpriced", prices=(), meters=())
    books = served.books
    await books.facility()
    await books.lease(NOVEMBER, DECEMBER, currency="USD")
    await books.deployment(NOVEMBER, DECEMBER)
    for n in range(BATCHES):
        events = [largest(f"{who}{n}", who) for who in ("cheap", "unpriced", "nobody")]
        assert served.send(*events).status_code == 200
    for table, columns in WIDENED.items():
        widened = ", ".join(f"{name} = {name} * {ALIKE}" for name in columns)
        await superuser.execute(f"UPDATE {table} SET {widened}")
    await superuser.execute(
        f"""UPDATE activity SET uncached = ARRAY(SELECT n * {ALIKE} FROM unnest(uncached) AS n),
                                output = ARRAY(SELECT n * {ALIKE} FROM unnest(output) AS n)"""
    )
    await settle(worker, now=NOW)
    return served


@pytest.mark.parametrize("folded", [False, True])
async def test_the_books_prove_themselves(wide: Served, worker: Connection, folded: bool) -> None:
    if folded:
        # Nothing is merged into a row that could not hold it, and what is merged stays true.
        assert (await fold(worker, every=True)).rows_come > 0
    assert SUM > 2**63
    windows = await check_windows([worker])
    assert (windows.facts, windows.differing, windows.differences) == (3 * BATCHES, 0, [])
    books = await check_books(worker)
    assert (books.differing, books.differences) == (0, [])
    assert books.states == {"rated": 1, "unpriced": 1, "suspense": 1, "not_yet_rated": 0}


async def test_every_page_and_export_shows_them_to_the_unit(wide: Served) -> None:
    dimensions = "customer,model,tier,agent,project,api_key,hour"
    usage = _items(wide, "/v1/usage", **PERIOD, by=dimensions)
    assert {row["uncached"] for row in usage} == {SUM}
    assert {row["requests"] for row in usage} == {BATCHES * 10**9 * ALIKE}
    assert {row["estimated"] for row in usage} == {BATCHES * 10**9 * ALIKE}
    charges = {row["customer"]: row for row in _items(wide, "/v1/charges", **PERIOD, by="customer")}
    assert charges["cheap"]["quantity"] == charges["unpriced"]["unpriced_quantity"] == 2 * SUM
    margins = wide.get("/v1/margins", params=PERIOD | {"entity": "factory"}).json()
    assert margins["items"][0]["unpriced_tokens"] == 2 * SUM
    energy = wide.get("/v1/energy", params=PERIOD | {"entity": "factory"}).json()
    assert energy["by_model"][0]["output_tokens"] == 3 * SUM
    coverage = wide.get("/v1/coverage", params=PERIOD | {"entity": "factory"}).json()
    assert coverage["usage"]["tokens"] == 6 * SUM
    waiting = wide.get("/v1/suspense").json()["items"]
    assert [(row["input_tokens"], row["output_tokens"]) for row in waiting] == [(SUM, SUM)]
    assert {row["quantity"] for row in _items(wide, "/v1/unpriced")} == {SUM}
    assert wide.get("/v1/status").json()["suspense"][0]["input_tokens"] == SUM
    assert _items(wide, "/v1/hourly", **PERIOD, entity="factory")
    coming = _items(wide, "/v1/invoices/coming", customer="cheap", at="2023-11-20T00:00:00Z")
    assert {line["quantity"] for line in coming[0]["lines"]} == {SUM}
    for name in EXPORT_FORMATS:
        found = wide.get(f"/v1/exports/{name}", params=PERIOD | {"entity": "factory"})
        assert found.status_code == 200, found.text
        if name in ("usage", "margins"):
            assert str(SUM) in found.text


def _items(served: Served, path: str, **asked: str) -> list[dict[str, Any]]:
    found = served.get(path, params=asked)
    assert found.status_code == 200, found.text
    items: list[dict[str, Any]] = found.json()["items"]
    return items


async def test_reports_of_the_command_line(wide: Served, worker: Connection) -> None:
    since, until = datetime(2023, 11, 16, tzinfo=UTC), datetime(2023, 11, 17, tzinfo=UTC)
    within: dict[str, Any] = {
        "since": since,
        "until": until,
        "cut_off": await draw_cut_off(worker, "report"),
    }
    grouping = Grouping(USAGE, ("model",), **within)
    totals = Totals(grouping.report)
    async with worker.transaction():
        async for page in grouping.pages(worker):
            totals.add(page)
    assert [total["input_tokens"] for total in totals.said()] == [3 * SUM]


async def test_it_is_invoiced_dismissed_and_traced(wide: Served, worker: Connection) -> None:
    await dismiss_suspense(worker, "nobody", AUTHOR, now=NOW)
    assert wide.get("/v1/suspense").json()["items"] == []
    await issue_invoice(
        worker, subscription_id="sub-cheap", moment=NOVEMBER, now=NOW, author=AUTHOR
    )
    (listed,) = wide.get("/v1/invoices", params={"customer": "cheap"}).json()["items"]
    path = f"/v1/invoices/{listed['invoice_id']}"
    shown = wide.get(path).json()
    assert {line["quantity"] for line in shown["lines"]} == {SUM}
    assert Decimal(shown["exact_total"]) == 24_000_000
    assert len(wide.get(f"{path}/lines/1/events").json()["items"]) == BATCHES
    assert wide.get(f"{path}/pdf").content.startswith(b"%PDF-")
    export = wide.get("/v1/exports/invoice_lines", params=PERIOD | {"entity": "factory"})
    assert str(SUM) in export.text
    assert (await check_books(worker)).differing == 0
