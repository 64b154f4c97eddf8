"""A figure is followed by whoever reads it: what a report names is what a trace takes."""

import re
from datetime import timedelta
from typing import Any

import pytest

from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.cost.allocate import allocate
from tests.cli.command_line import CommandLine
from tests.cli.test_report_coverage import PERIOD, in_books
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import GPU, LATER, START, one_gpu, steady
from tests.support.usage import AUTHOR, NOW, Gate, attempt, correction, keyed, open_books


async def an_hour(books: Books) -> None:
    await one_gpu(books)
    await books.readings(GPU, steady(range(-5, 3601, 10)))
    await books.usage(START, Tokens(uncached=5, output=7), busy=range(300))
    await allocate(books.connection, now=LATER)


def test_a_cost_is_followed_by_what_the_reports_print(command: CommandLine) -> None:
    in_books(command, an_hour)
    energy, margin = (
        re.findall(r"tokenledger (trace cost --scope \S+) --at TIME", said.stdout)
        for said in (command("report", report, *PERIOD) for report in ("energy", "margin"))
    )
    (typed,) = energy
    assert margin == energy == ["trace cost --scope deployment:chat"]
    asked = (*typed.split(), "--at", "2026-03-02T10:14:59")
    shown = command(*asked, "--wide").stdout
    for part in (
        *("amounts in EUR", "usage", "idle", "acme", str(Buyer().usage_key_id), "electricity"),
        *("360,000,000", "12,000,000", "Tariff power: 100 EUR/MWh", "PUE 1.2", "bought for 30000"),
    ):
        assert part in shown, part
    found = command.json(*asked)
    assert [line["line"] for line in found["lines"]] == ["idle", "usage"]
    assert len(found["readings"]) == 92
    key = found["lines"][1]["usage_key"]
    (line,) = command.json(*asked, "--key", key)["lines"]
    assert (line["customer_id"], line["busy_s"]) == ("acme", 300)
    (line,) = command.json(*asked, "--line", "idle")["lines"]
    assert (line["usage_key"], line["customer_id"]) == (None, None)


async def served_by_one_gpu(books: Books) -> None:
    await open_books(books.connection)
    await books.facility()
    await books.tariff([(NOW - timedelta(hours=1), NOW, "100")])
    await books.lease(NOW - timedelta(hours=1), rate="2", all_in=False)
    await books.deployment(NOW - timedelta(hours=1), gpus=[GPU])
    moments = [NOW - timedelta(minutes=60 - n / 2) for n in range(121)]
    await books.readings(GPU, [(at, 10**9 + n * 9_000_000) for n, at in enumerate(moments)])
    await Gate(books.connection).send(keyed(attempt("e-1", minute=10)))
    await allocate(books.connection, now=NOW)


def test_an_event_is_followed_to_what_it_cost(command: CommandLine) -> None:
    in_books(command, served_by_one_gpu)
    shown = command("trace", "event", "e-1", "--wide").stdout
    for part in ("deployment:chat", "2026-08-06 11:10:30", "100.000", "all of it", "in EUR"):
        assert part in shown, part
    traced = command.json("trace", "event", "e-1")
    (window,) = traced["windows"]
    assert window["line"]["gpu_cost"] == window["gpu_cost"] == traced["gpu_cost"]
    assert (window["alike"], traced["device_metered_mj"]) == (1, 300_000)
    refused = command("trace", "event", "e-2", status=1)
    assert "There is no event e-2." in refused.stderr


def test_a_cost_nobody_knows_is_refused_with_what_there_is(command: CommandLine) -> None:
    in_books(command, an_hour)
    at = ("--at", "2026-03-02T10:00:00Z")
    refused = command.refusal("trace", "cost", "--scope", "chat", *at)
    assert refused.endswith("There are: deployment:chat.")
    refused = command.refusal("trace", "cost", "--scope", "deployment:chat", *at, "--key", "\x00")
    assert "usage_key" in refused
    assert "There is no invoice ../1" in command.refusal("trace", "invoice", "../1", 1)


async def two_events(books: Books) -> None:
    """One that counts everything, one that says no output; the first is corrected."""
    worker = books.connection
    await open_books(worker)
    await on_a_card(worker, "acme")
    gate = Gate(worker)
    half = attempt("half", minute=1)
    half["data"]["usage"] = {"input": {"uncached": 3, "cache_read": 0, "cache_write": 0}}
    await gate.send(keyed(attempt("whole", tokens=10), half))
    await gate.send(keyed(correction("fixed", of="whole", revision=1, tokens=20)))
    await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )


def test_an_invoice_line_is_followed_to_its_events_in_words(command: CommandLine) -> None:
    in_books(command, two_events)
    ((number, invoice_id),) = [
        (row["number"], row["invoice_id"]) for row in command.items("invoice", "list")
    ]
    found = command.json("trace", "invoice", number, 1)
    assert found == command.json("trace", "invoice", invoice_id, 1)
    assert found["line"]["meter"] == "input_uncached"
    assert sum(event["uncached"] for event in found["items"]) == found["line"]["quantity"] == 23
    kinds = sorted(event["kind"] for event in found["items"])
    assert kinds == ["original", "original", "replacement", "reversal"]
    (half,) = [event for event in found["items"] if event["event_id"] == "half"]
    assert "output_unknown" in half["flags"]
    assert (half["cache_read"], half["visible"], half["reasoning"]) == (0, None, None)
    shown = command("trace", "invoice", number, 1, "--wide").stdout
    assert "reversal" in shown
    assert "output_unknown" in shown
    assert "input_uncached: 23 for" in shown
    refused = command.refusal("trace", "invoice", number, 9)
    assert refused == f"Invoice {number} has no line 9. It has lines 1 to 2."


def test_pages_of_events_are_those_of_the_whole(command: CommandLine) -> None:
    in_books(command, two_events)
    whole = command.json("trace", "invoice", 1, 1)["items"]
    paged: list[Any] = []
    after: tuple[str, ...] = ()
    while True:
        page = command.json("trace", "invoice", 1, 1, "--rows", 1, *after)
        paged += page["items"]
        if page["next"] is None:
            break
        after = ("--after", page["next"])
    assert paged == whole
    assert len(whole) == 4


@pytest.mark.parametrize("after", ["x", "WyJhIl0", ""])
def test_a_page_that_is_none_is_refused(command: CommandLine, after: str) -> None:
    assert "cursor" in command.refusal("trace", "invoice", 1, 1, "--after", after)
