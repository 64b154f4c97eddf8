"""An invoice has a line for each price of what was used, and never two that look the same."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from ledger.api.shapes import show_draft
from ledger.domain.billing.issued import IssuedLine
from ledger.domain.period import DAY
from ledger.flows.billing.invoice import issue_invoice, preview_invoice
from ledger.flows.billing.issue import IssueRules
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_price
from ledger.store.billing import invoice as store
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import NOVEMBER
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card, pages
from tests.flows.test_period_prices import FEE, NOW, SINCE, agree, enter, issued, priced, settle
from tests.support.books import Tokens
from tests.support.usage import AUTHOR, Gate, attempt, keyed, open_books

MID = NOVEMBER + 10 * DAY
LONG: dict[str, Any] = {"meter": "input", "band_from": 200_000}


async def test_contexts_that_no_price_tells_apart_are_one_line(worker: Connection) -> None:
    lines = await billed(worker, 10, 40_000, 140_000, 300_000, 600_000)
    assert said(lines, "input_uncached") == {
        "Uncached input tokens, llama, tier standard": (5, 1_080_010)
    }
    await agree(worker)


async def test_a_band_is_a_line_of_all_contexts_from_its_edge_on(worker: Connection) -> None:
    lines = await billed(worker, 10, 40_000, 300_000, 600_000, long={"amount": "10"})
    assert said(lines, "input_uncached") == {
        "Uncached input tokens, llama, tier standard": (5, 40_010),
        "Uncached input tokens, llama, tier standard, context above 200\u2009000 tokens": (
            10,
            900_000,
        ),
    }
    # Each leads to its own events: those of both come to all there are.
    (invoice,) = await store.list_invoices(worker)
    found = {}
    for line in lines:
        if line.key.meter == "input_uncached":
            events = await pages(worker, line, invoice.cut_off_seq, 100)
            found[line.quantity] = sum(event.uncached or 0 for event in events)
    assert found == {40_010: 40_010, 900_000: 900_000}
    await agree(worker)


async def test_prices_of_two_bands_that_look_at_a_period_are_two_lines(worker: Connection) -> None:
    tiers = {"kind": "volume", "tiers": ["0-:5"]}
    lines = await billed(worker, 300_000, 10, long=tiers, short=tiers)
    assert said(lines, "input_uncached") == {
        "Uncached input tokens, llama, all units": (5, 10),
        "Uncached input tokens, llama, context above 200\u2009000 tokens, all units": (5, 300_000),
    }
    await agree(worker)


async def test_what_changed_in_a_band_is_adjusted_once(worker: Connection) -> None:
    await billed(worker, 40_000)
    gate = Gate(worker)
    for n, tokens in enumerate((300_000, 20)):
        await gate.send(keyed(attempt(f"late-{n}", minute=n, tokens=tokens)))
        draft = await preview_invoice(
            worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER
        )
        (line,) = (each for each in draft.lines if each.key.meter == "input_uncached")
        assert (line.quantity, line.key.context_band) == (tokens, 0)
        await issue_again(worker)
    draft = await preview_invoice(worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER)
    assert draft.lines == ()


async def test_a_price_that_changed_within_the_period_says_since_when(worker: Connection) -> None:
    # Two thirds of the old fee are as much as a third of the new, but for the hour in which nobody
    # had it yet.
    books = await priced(worker, FEE, tiers("4"), since=NOVEMBER, billed_in="Europe/Copenhagen")
    at = NOVEMBER + 20 * DAY
    noon = (at + timedelta(hours=11, minutes=45)).isoformat()
    await enter(worker, **FEE | {"amount": "600", "valid_from": at.isoformat()}, replace=True)
    await enter(worker, **tiers("3") | {"valid_from": noon}, replace=True)
    for day in (0, 25):
        await books.usage(NOVEMBER + day * DAY, Tokens(output=1_000_000))
    await settle(worker)
    assert await issued(worker, MID) == [
        ("Output tokens, all models, first 1,000,000", 1_000_000, "5"),
        ("Output tokens, all models, first 1,000,000, from 2023-11-21 12:45", 1_000_000, "5"),
        ("Fee, Support", 1, "200"),
        ("Fee, Support, from 2023-11-21 01:00", 1, "199.166666666666"),
    ]
    await agree(worker)


async def test_a_price_on_both_sides_of_another_is_one_line(worker: Connection) -> None:
    books = await priced(worker)
    for day, amount in ((10, "6"), (20, "5")):
        since = (NOVEMBER + day * DAY).isoformat()
        await enter(worker, meter="input", amount=amount, valid_from=since, replace=True)
    for day in (0, 15, 25):
        await books.usage(NOVEMBER + day * DAY, Tokens(uncached=1_000_000))
    await settle(worker)
    assert await issued(worker) == [
        ("Uncached input tokens, llama, tier standard", 2_000_000, "10"),
        ("Uncached input tokens, llama, tier standard, from 2023-11-11", 1_000_000, "6"),
    ]
    await agree(worker)


async def test_a_draft_says_its_lines_as_the_invoice_will(worker: Connection) -> None:
    night = {"meter": "input", "hours": "22:00-06:00 UTC", "amount": "2"}
    books = await priced(worker, night, FEE)
    for hour in (0, 12):
        await books.usage(NOVEMBER + timedelta(hours=hour), Tokens(uncached=1_000_000))
    await settle(worker)
    draft = await preview_invoice(worker, subscription_id="sub-acme", moment=NOVEMBER, now=NOW)
    shown: Any = show_draft(draft)["lines"]
    told = [(line["description"], line["unit_amount"], line["per"]) for line in shown]
    assert told == [
        ("Uncached input tokens, llama, tier standard", Decimal(5), 1_000_000),
        ("Uncached input tokens, llama, tier standard, 22:00-06:00 UTC", Decimal(2), 1_000_000),
        ("Fee, Support", Decimal(300), 1),
    ]
    assert [text for text, _, _ in await issued(worker)] == [text for text, _, _ in told]


def tiers(beyond: str) -> dict[str, Any]:
    """A graduated price that begins as others do."""
    return {"meter": "output", "kind": "graduated", "tiers": ["0-1000000:5", f"1000000-:{beyond}"]}


def said(lines: list[IssuedLine], meter: str) -> dict[str, tuple[int, int]]:
    """Unit amount and units of lines of a meter, by what they say."""
    own = [line for line in lines if line.key.meter == meter]
    told = {line.description: (int(line.unit_amount), line.quantity) for line in own}
    assert len(told) == len(own)
    return told


async def billed(
    connection: Connection,
    *contexts: int,
    long: dict[str, Any] | None = None,
    short: dict[str, Any] | None = None,
) -> list[IssuedLine]:
    """The invoice of a request of each of these contexts, at prices of long and short ones."""
    await open_books(connection)
    await on_a_card(connection, "acme")
    for price in (LONG | long if long else None, short and {"meter": "input", **short}):
        if price:
            terms = {"rate_card_id": "card-acme", "valid_from": SINCE, "model": "llama"} | price
            await enter_price(connection, read_input(NewPrice, terms), AUTHOR)
    events = [attempt(f"e{n}", minute=n, tokens=tokens) for n, tokens in enumerate(contexts)]
    await Gate(connection).send(keyed(*events))
    issued_one = await issue_invoice(
        connection, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    return await store.list_lines(connection, invoice_id=issued_one.invoice_id)


async def issue_again(connection: Connection) -> None:
    """A supplementary invoice of August."""
    await rate(connection, now=SEPTEMBER)
    await issue_invoice(
        connection,
        subscription_id="sub-acme",
        moment=AUGUST,
        now=SEPTEMBER,
        author=AUTHOR,
        allow=IssueRules(supplementary=True),
    )
