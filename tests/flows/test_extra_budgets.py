"""Budgets, runs of agents and reports know what few events count beside their leaves."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.billing.reservation import Held
from ledger.domain.errors import OverBudgetError
from ledger.flows.metering.release import release_suspense
from ledger.flows.reference.enter import enter_alias
from ledger.flows.settle import settle
from ledger.reports.books.export import BooksOf, export_file
from ledger.reports.grouped import Grouping
from ledger.reports.metering.extras import EXTRAS_REPORT
from ledger.store.connect import connect, draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewReservation
from ledger.wire.errors import InputError
from ledger.wire.inputs import NewAlias, read_input, read_texts
from tests.flows.test_agents import of, runs, told
from tests.flows.test_extra_prices import SINCE, on_full_card, price
from tests.flows.test_extras import some_extras, with_extras
from tests.flows.test_reserve import ask, balances, budget, one, total
from tests.support.database import Database
from tests.support.examples import at_depth
from tests.support.usage import (
    AUTHOR,
    NOW,
    Gate,
    add_customer,
    attempt,
    correction,
    keyed,
    open_books,
)

SEPTEMBER = datetime(2026, 9, 2, tzinfo=UTC)
ROOMY: dict[str, Any] = {"unit": "money", "amount": "1000", "period": "ever"}


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    """acme on a card with prices for parts and for what is beside tokens."""
    await open_books(worker)
    await on_full_card(worker)
    await price(worker, meter="input_cache_write_1h", amount="10")
    await price(worker, meter="input_audio", amount="40")
    await price(worker, meter="output_rejected_prediction", amount="0")
    await price(worker, meter="web_search_calls", amount="0.01", per=1)
    return Gate(worker)


async def charged(connection: Connection) -> Decimal:
    await settle(connection, now=SEPTEMBER)
    found: Decimal = await connection.fetchval("SELECT coalesce(sum(amount), 0) FROM charge")
    return found


SAID: dict[str, Any] = {
    "input": {"cache_write": 400, "cache_write_1h": 600},
    "output": {"visible": 900, "rejected_prediction": 100},
    "modality": {"input.audio": 300},
    "other": {"web_search.requests": 3, "tool.calls": 9},
}


async def test_a_budget_of_money_counts_what_rating_charges(gate: Gate) -> None:
    await budget(gate.connection, **ROOMY)
    await gate.send(keyed(with_extras(attempt("e1"), **SAID), attempt("e2", minute=1)))
    used, _ = await total(gate.connection)
    assert used == await charged(gate.connection) > 0
    # Entered later, it finds the same.
    await budget(gate.connection, "later", **ROOMY)
    found = await balances(gate.connection)
    assert set(found.values()) == {(used, 0)}


async def test_a_correction_and_a_release_move_what_was_counted(gate: Gate) -> None:
    await budget(gate.connection, **ROOMY)
    lost = with_extras(attempt("e2", customer_id="beta"), other={"web_search.requests": 5})
    await gate.send(keyed(with_extras(attempt("e1"), **SAID), lost))
    better = with_extras(
        correction("c1", of="e1", revision=1), **SAID | {"other": {"web_search.requests": 1}}
    )
    before, _ = await total(gate.connection)
    await gate.send(keyed(better))
    after, _ = await total(gate.connection)
    assert before - after == Decimal("0.02")
    alias = {"alias": "beta", "customer_id": "acme", "valid_from": SINCE}
    await enter_alias(gate.connection, read_input(NewAlias, alias), AUTHOR)
    assert await release_suspense(gate.connection, directory=gate.directory, now=NOW) == 1
    used, _ = await total(gate.connection)
    assert used == await charged(gate.connection) > after


@settings(max_examples=at_depth(15))
@given(said=st.lists(some_extras(), min_size=1, max_size=4))
async def test_whatever_events_say_budgets_count_what_rating_charges(
    database: Database, said: list[dict[str, Any]]
) -> None:
    connection = await connect(database.worker_url)
    try:
        if not await connection.fetchval("SELECT count(*) FROM entity"):
            await open_books(connection)
            await on_full_card(connection)
            await price(connection, meter="input_audio", amount="40")
            await price(connection, meter="web_search_calls", amount="0.01", per=1)
            await budget(connection, **ROOMY)
        n = await connection.fetchval("SELECT count(*) FROM event_key")
        events = [
            with_extras(attempt(f"e{n + k}", minute=k), **each) for k, each in enumerate(said)
        ]
        await Gate(connection).send(keyed(*events))
        (found,) = (await balances(connection)).values()
        assert found[0] == await charged(connection)
    finally:
        await connection.close()


def holding(**said: Any) -> Any:
    """A reservation of a thousand tokens in and out."""
    return ask(said.pop("reservation_id", "r1"), 1_000, input_tokens_max=1_000, **said)


def extras(**most: int) -> list[dict[str, Any]]:
    return [{"meter": meter, "quantity": quantity} for meter, quantity in most.items()]


@pytest.mark.parametrize(
    ("extras_max", "held"),
    [
        # Any token may be audio, as nobody says otherwise.
        (None, "0.045"),
        # Beside them the dearest kind is a cache write, of five minutes.
        ([], "0.011"),
        (extras(input_audio=100), "0.0144"),
        (extras(input_audio=5_000), "0.045"),
        (extras(input_cache_write_1h=500), "0.013"),
        (extras(output_rejected_prediction=900), "0.011"),
        (extras(web_search_calls=4, tool_calls=7), "0.051"),
    ],
)
async def test_a_reservation_holds_the_most_that_it_may_come_to(
    gate: Gate, extras_max: list[dict[str, Any]] | None, held: str
) -> None:
    await budget(gate.connection, **ROOMY)
    found = await one(gate.connection, holding(extras_max=extras_max))
    assert isinstance(found, Held)
    assert [each.amount for each in found.holds] == [Decimal(held)]


async def test_calls_alone_are_held_and_refused_beyond_the_budget(gate: Gate) -> None:
    await budget(gate.connection, **ROOMY | {"amount": "0.05"})
    calls = extras(web_search_calls=5)
    assert isinstance(await one(gate.connection, ask("r1", 0, extras_max=calls)), Held)
    assert isinstance(await one(gate.connection, ask("r2", 0, extras_max=calls)), OverBudgetError)
    settled = with_extras(
        attempt("e1", reservation_id="r1"),
        input={"uncached": 0, "cache_read": 0, "cache_write": 0},
        output={"visible": 0, "reasoning": 0},
        other={"web_search.requests": 5},
    )
    await gate.send(keyed(settled))
    assert await total(gate.connection) == (Decimal("0.05"), 0)


@pytest.mark.parametrize(
    ("extras_max", "wrong"),
    [
        ([{"meter": "input", "quantity": 1}], "send one of"),
        ([{"meter": "input_audio", "quantity": -1}], "quantity"),
        ([{"meter": "input_audio", "quantity": 10**12}], "quantity"),
        ([{"meter": "input_audio", "quantity": 1}] * 2, "each meter once"),
        (["input_audio"], "web_search_calls:5"),
        ([{"meter": "input_audio", "quantity": 0}], "one of them above 0"),
    ],
)
def test_what_is_no_count_of_an_extra_is_refused(extras_max: Any, wrong: str) -> None:
    given_ = {"reservation_id": "r1", "customer_id": "acme", "extras_max": extras_max}
    with pytest.raises(InputError, match=wrong):
        read_input(NewReservation, given_)


def test_a_file_says_extras_in_a_cell() -> None:
    row = {"reservation_id": "r1", "extras_max": "web_search_calls:5; input_audio:100"}
    said = read_texts(NewReservation, row).model_dump()["extras_max"]
    assert [*said] == extras(web_search_calls=5, input_audio=100)


async def test_a_run_has_its_extras_and_what_they_come_to(gate: Gate) -> None:
    one_ = of(with_extras(attempt("e1"), **SAID), "coder", "run-1")
    other = of(with_extras(attempt("e2"), other={"web_search.requests": 2}), "coder", "run-2")
    apart = of(attempt("e3", minute=20), "coder", "run-2")
    await gate.send(keyed(one_, other, apart, attempt("e4")))
    amount = await charged(gate.connection)
    found = await runs(gate.connection)
    assert found["run-1"]["extras"] == {
        **{"input_cache_write_1h": 600, "input_audio": 300, "output_rejected_prediction": 100},
        **{"web_search_calls": 3, "tool_calls": 9},
    }
    assert found["run-2"]["extras"] == {"web_search_calls": 2}
    assert (found["run-2"]["requests"], found["run-2"]["input_tokens"]) == (2, 3_010)
    alone = Decimal("0.00015")
    assert found["run-1"]["amount"] + found["run-2"]["amount"] == amount - alone
    said = await told(gate.connection, customer="acme", agent="coder")
    shown = {run["agent_run_id"]: run["extras"] for run in said["latest_runs"]}
    assert shown == {name: run["extras"] for name, run in found.items()}


async def test_a_corrected_run_has_no_more_extras_than_stand(gate: Gate) -> None:
    calls: dict[str, Any] = {"other": {"web_search.requests": 2}}
    await gate.send(keyed(of(with_extras(attempt("e1"), **calls), "coder", "run-1")))
    better = of(with_extras(correction("c1", of="e1", revision=1)), "coder", "run-1")
    await gate.send(keyed(better))
    assert (await runs(gate.connection))["run-1"]["extras"] == {}


async def test_reports_and_files_tell_extras_by_meter(gate: Gate) -> None:
    await add_customer(gate.connection, "beta")
    other = attempt("e2", customer_id="beta", agent={"id": "coder"})
    await gate.send(
        keyed(
            with_extras(attempt("e1"), **SAID),
            with_extras(other, other={"web_search.requests": 2}),
            with_extras(attempt("e3", minute=20), other={"web_search.requests": 1}),
        )
    )
    cut_off = await draw_cut_off(gate.connection, "report")
    since = datetime(2026, 8, 6, tzinfo=UTC)
    period = (since, since + timedelta(days=1))
    grouping = Grouping(EXTRAS_REPORT, ("customer", "day", "agent"), *period, cut_off)
    rows, after = await grouping.page(gate.connection, 100)
    counted = {(row["customer"], row["agent"], row["meter"]): row["quantity"] for row in rows}
    assert after is None
    assert counted == {
        ("acme", "", "input_audio"): 300,
        ("acme", "", "input_cache_write_1h"): 600,
        ("acme", "", "output_rejected_prediction"): 100,
        ("acme", "", "tool_calls"): 9,
        ("acme", "", "web_search_calls"): 4,
        ("beta", "coder", "web_search_calls"): 2,
    }
    # Page by page it is the same.
    paged: list[dict[str, Any]] = []
    place: list[str] | None = None
    while place is not None or not paged:
        page, place = await grouping.page(gate.connection, 1, place)
        paged += page
    assert paged == rows
    parts = export_file(gate.connection, "extras", BooksOf("factory", *period, cut_off))
    header, *lines = b"".join([part async for part in parts]).decode().splitlines()
    columns = header.split(",")
    summed: Counter[tuple[str, str]] = Counter()
    for line in lines:
        row = dict(zip(columns, line.split(","), strict=True))
        summed[row["customer_id"], row["meter"]] += int(row["quantity"])
    assert summed == {(who, meter): count for (who, _, meter), count in counted.items()}
