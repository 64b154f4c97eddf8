"""Prices of what few attempts count beside their leaves: parts of these, and what is no token."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.billing.trace import find_invoice, trace_invoice_line
from ledger.flows.billing.usage_statement import usage_statement
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_price
from ledger.flows.settle import settle
from ledger.store.billing.invoice import list_invoices, list_lines
from ledger.store.pricing.rating import list_unpriced
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.test_extras import agree, with_extras
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card
from tests.flows.test_reserve import budget, total
from tests.support.usage import AUTHOR, Gate, attempt, correction, keyed, open_books

SINCE = "2026-01-01T00:00:00Z"


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    await open_books(worker)
    return Gate(worker)


async def price(connection: Connection, **said: Any) -> None:
    given_ = {"rate_card_id": "card-acme", "valid_from": SINCE} | said
    await enter_price(connection, read_input(NewPrice, given_), AUTHOR)


async def on_full_card(connection: Connection) -> None:
    await on_a_card(connection, "acme")
    await price(connection, meter="cached_input", amount="1")
    await price(connection, meter="input_cache_write", amount="6")


async def issued(connection: Connection) -> list[tuple[str, int, str]]:
    one = await issue_invoice(
        connection, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    lines = await list_lines(connection, invoice_id=one.invoice_id)
    return [(each.key.meter, each.quantity, f"{each.exact_amount.normalize():f}") for each in lines]


async def open_books_on(connection: Connection, *, model: str, **amounts: str) -> None:
    """A full card on which some meters of a model have prices of their own."""
    await on_full_card(connection)
    for meter, amount in amounts.items():
        await price(connection, meter=meter, amount=amount, model=model)


TOKENS = [
    ("input_uncached", 1_000, "0.005"),
    ("input_cache_read", 1_000, "0.001"),
    ("input_cache_write", 1_000, "0.006"),
    ("output_visible", 1_000, "0.005"),
    ("output_reasoning", 1_000, "0.005"),
]


async def test_parts_without_a_price_cost_what_the_whole_costs(gate: Gate) -> None:
    await on_full_card(gate.connection)
    said = {"input": {"cache_write": 400, "cache_write_1h": 600}, "other": {"tool.calls": 7}}
    await gate.send(keyed(with_extras(attempt("e1"), **said)))
    await rate(gate.connection, now=SEPTEMBER)
    assert sorted(await issued(gate.connection)) == sorted(TOKENS)
    assert await list_unpriced(gate.connection, entity_id="factory", batch_seq=10**9) == []
    await agree(gate.connection)


async def test_parts_with_a_price_are_lines_of_their_own(gate: Gate) -> None:
    await on_full_card(gate.connection)
    await price(gate.connection, meter="input_cache_write_1h", amount="10")
    await price(gate.connection, meter="output_rejected_prediction", amount="0")
    await price(gate.connection, meter="input_audio", amount="40", model="lla*")
    await price(gate.connection, meter="web_search_calls", amount="0.01", per=1)
    await price(gate.connection, meter="gpu_ms", amount="0.0001", per=1_000)
    said = {
        "input": {"cache_write": 400, "cache_write_1h": 600},
        "output": {"visible": 900, "rejected_prediction": 100},
        "modality": {"input.audio": 300},
        "other": {"web_search.requests": 3, "gpu.seconds": 20},
    }
    await gate.send(keyed(with_extras(attempt("e1"), **said)))
    await settle_all(gate.connection)
    assert sorted(await issued(gate.connection)) == sorted(
        [
            ("input_uncached", 700, "0.0035"),
            ("input_audio", 300, "0.012"),
            ("input_cache_read", 1_000, "0.001"),
            ("input_cache_write", 400, "0.0024"),
            ("input_cache_write_1h", 600, "0.006"),
            ("output_visible", 900, "0.0045"),
            ("output_rejected_prediction", 100, "0"),
            ("output_reasoning", 1_000, "0.005"),
            ("web_search_calls", 3, "0.03"),
            ("gpu_ms", 20_000, "0.002"),
        ]
    )
    await agree(gate.connection)


async def settle_all(connection: Connection) -> None:
    await settle(connection, now=SEPTEMBER)


@pytest.mark.parametrize(("by_token", "asked"), [("5", 0), ("0", 9_000)])
async def test_what_tokens_count_too_is_asked_for_once(
    gate: Gate, by_token: str, asked: int
) -> None:
    await open_books_on(gate.connection, model="speaker", input=by_token)
    await budget(gate.connection, unit="money", amount="1000", period="ever")
    await price(gate.connection, meter="input_characters", amount="2", per=1_000)
    spoken = attempt("e1", served_model="speaker")
    await gate.send(keyed(with_extras(spoken, other={"characters.input": 9_000})))
    await settle_all(gate.connection)
    lines = {meter: (quantity, amount) for meter, quantity, amount in await issued(gate.connection)}
    assert lines["input_uncached"][1] == ("0.005" if by_token == "5" else "0")
    assert lines.get("input_characters", (0, "0")) == (asked, "18" if asked else "0")
    used, _ = await total(gate.connection)
    assert used == sum(Decimal(amount) for _, amount in lines.values())
    await agree(gate.connection)


@pytest.mark.parametrize(
    ("said", "amount"),
    [
        ({"kind": "package", "size": 250, "amount": "3"}, "9"),
        ({"kind": "graduated", "tiers": ["0-400:1+5", "400-:0.5"], "per": 1}, "505"),
        ({"kind": "volume", "tiers": ["0-400:1", "400-:0.5"], "per": 1}, "300"),
        ({"kind": "included", "included": 100, "amount": "4", "per": 1}, "2000"),
    ],
)
@pytest.mark.parametrize("meter", ["input_cache_write_1h", "tool_calls"])
async def test_every_kind_of_price_takes_extras(
    gate: Gate, meter: str, said: dict[str, Any], amount: str
) -> None:
    await on_full_card(gate.connection)
    await price(gate.connection, meter=meter, **said)
    for n in range(2):
        counts: dict[str, Any] = {"input": {"cache_write": 700, "cache_write_1h": 300}}
        counts["other"] = {"tool.calls": 300}
        await gate.send(keyed(with_extras(attempt(f"e{n}", minute=20 * n), **counts)))
        await settle_all(gate.connection)
    lines = await issued(gate.connection)
    assert sum(Decimal(a) for m, _, a in lines if m == meter) == Decimal(amount)
    written = 1_400 if meter == "input_cache_write_1h" else 2_000
    assert sum(q for m, q, _ in lines if m == "input_cache_write") == written
    await agree(gate.connection)


async def test_a_whole_that_looks_at_periods_counts_no_part_with_a_price(gate: Gate) -> None:
    await on_a_card(gate.connection, "acme")
    await price(gate.connection, meter="cached_input", amount="1")
    tiers = ["0-1000:1", "1000-:0.5"]
    await price(gate.connection, meter="input_cache_write", kind="volume", tiers=tiers, per=1)
    await price(gate.connection, meter="input_cache_write_1h", amount="2", per=1)
    for n in range(2):
        counts: dict[str, Any] = {"input": {"cache_write": 400, "cache_write_1h": 600}}
        await gate.send(keyed(with_extras(attempt(f"e{n}"), **counts)))
        await settle_all(gate.connection)
    lines = {meter: (quantity, amount) for meter, quantity, amount in await issued(gate.connection)}
    assert lines["input_cache_write"] == (800, "800")
    assert lines["input_cache_write_1h"] == (1_200, "2400")
    await agree(gate.connection)


async def test_a_price_of_a_part_at_some_hours_takes_it_out_then_alone(gate: Gate) -> None:
    await on_full_card(gate.connection)
    hours = {"hours": "11:15-11:30 UTC"}
    await price(gate.connection, meter="input_cache_write_1h", amount="10", **hours)
    for n in range(3):
        counts: dict[str, Any] = {"input": {"cache_write": 0, "cache_write_1h": 1_000}}
        await gate.send(keyed(with_extras(attempt(f"e{n}", minute=15 * n), **counts)))
    await settle_all(gate.connection)
    lines = {meter: (quantity, amount) for meter, quantity, amount in await issued(gate.connection)}
    assert lines["input_cache_write"] == (2_000, "0.012")
    assert lines["input_cache_write_1h"] == (1_000, "0.01")
    await agree(gate.connection)


async def test_a_late_correction_of_extras_alone_is_priced_anew(gate: Gate) -> None:
    await on_full_card(gate.connection)
    await price(gate.connection, meter="web_search_calls", amount="1", per=1)
    await gate.send(keyed(with_extras(attempt("e1"), other={"web_search.requests": 5})))
    await settle_all(gate.connection)
    better = with_extras(correction("c1", of="e1", revision=1), other={"web_search.requests": 2})
    await gate.send(keyed(better))
    await settle_all(gate.connection)
    assert ("web_search_calls", 2, "2") in await issued(gate.connection)
    await agree(gate.connection)


async def test_lines_of_extras_lead_to_their_events(gate: Gate) -> None:
    await on_full_card(gate.connection)
    await price(gate.connection, meter="input_cache_write_1h", amount="10")
    said: dict[str, Any] = {"input": {"cache_write": 400, "cache_write_1h": 600}}
    await gate.send(keyed(with_extras(attempt("e1"), **said), attempt("plain", minute=1)))
    await settle_all(gate.connection)
    await issued(gate.connection)
    (invoice,) = await list_invoices(gate.connection)
    lines = await list_lines(gate.connection, invoice_id=invoice.invoice_id)
    parts = [part async for part in usage_statement(gate.connection, invoice, lines)]
    rows = [row.split(",") for row in b"".join(parts).decode().splitlines()[1:]]
    told: Counter[str] = Counter()
    for row in rows:
        told[row[1]] += int(row[8])
    assert told == {str(line.line_no): line.quantity for line in lines}
    (line_no,) = (line.line_no for line in lines if line.key.meter == "input_cache_write_1h")
    found = await find_invoice(gate.connection, invoice.number)
    traced = await trace_invoice_line(gate.connection, invoice=found, line_no=line_no, limit=10)
    shown = {event["event_id"]: event["extras"] for event in traced.events_json()}
    assert shown == {"e1": {"input_cache_write_1h": 600}, "plain": {}}


def test_what_is_counted_beside_tokens_says_how_many_it_is_for() -> None:
    for meter in ("web_search_calls", "gpu_ms", "output_images"):
        said = {"rate_card_id": "c", "meter": meter, "amount": "1", "valid_from": SINCE}
        with pytest.raises(InputError, match=f"send it with meter {meter}"):
            read_input(NewPrice, said)
