"""From a published trace to an invoice, by the command line alone."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.test_backfill import AZURE


def enter_card(command: CommandLine, folder: Path, *, amounts: tuple[str, str]) -> None:
    """A USD card with an input and an output price a million, and acme on it."""
    since = "2023-01-01T00:00:00Z"
    prices = [
        {"meter": meter, "amount": amount, "valid_from": since}
        for meter, amount in zip(("input", "output"), amounts, strict=True)
    ]
    card = {
        **{"rate_card_id": "list", "entity_id": "factory", "name": "List", "currency": "USD"},
        "prices": prices,
    }
    on_card = {
        **{"subscription_id": "acme-list", "customer_id": "acme", "rate_card_id": "list"},
        **{"zone": "UTC", "valid_from": since},
    }
    for kind, row in (("rate-cards", card), ("subscriptions", on_card)):
        path = folder / f"{kind}.json"
        path.write_text(json.dumps([row]))
        command("import", kind, path)


@pytest.mark.parametrize(
    ("amounts", "exact", "lines", "total"),
    [
        (("5", "15"), "93.98831", ["90.30", "3.69"], "93.99"),
        (("2.5", "10"), "47.608895", ["45.15", "2.46"], "47.61"),
    ],
)
def test_published_trace_becomes_its_invoice(
    command: CommandLine,
    tmp_path: Path,
    shared_data: Path,
    amounts: tuple[str, str],
    exact: str,
    lines: list[str],
    total: str,
) -> None:
    command.enter_factory(tmp_path)
    enter_card(command, tmp_path, amounts=amounts)
    command("backfill", shared_data / "traces" / "azure_llm_2023_code.csv.gz", *AZURE)
    period = ("--at", "2023-11-16")
    draft = command.json("invoice", "preview", "acme-list", *period)
    assert Decimal(draft["exact_total"]) == Decimal(exact)
    assert [line["amount"] for line in draft["lines"]] == lines
    assert draft["payable"] == total
    (issued,) = command.items("invoice", "issue", "acme-list", *period)
    assert issued["payable"] == total
    table = command("report", "receivables", "--wide").stdout
    assert table.split("Open invoices")[1].count("0.00 │") == 2
    (listed,) = command.items("invoice", "list")
    assert (listed["number"], listed["payable"]) == (issued["number"], total)
    said = command.refusal("invoice", "issue", "acme-list", *period)
    assert "is invoiced already" in said
    document = tmp_path / "invoice.pdf"
    command("invoice", "pdf", issued["number"], "--output", document)
    assert document.read_bytes().startswith(b"%PDF-")
    assert "There is no invoice 99" in command.refusal("invoice", "pdf", "99")
    assert "went out without a file" in command.refusal("invoice", "xml", issued["number"])
    voided = command.json("invoice", "void", issued["number"], "--reason", "wrong customer")
    assert (voided["invoice"], voided["payable"]) == (issued["number"], total)
    command("invoice", "credit-pdf", voided["number"], "--output", document)
    assert document.read_bytes().startswith(b"%PDF-")
    assert "credited before" in command.refusal("invoice", "void", "1", "--reason", "again")
    (anew,) = command.items("invoice", "issue", "acme-list", *period)
    assert (anew["number"] != issued["number"], anew["payable"]) == (True, total)
    stands = {row["number"]: row["voided"] for row in command.items("invoice", "list")}
    assert stands == {issued["number"]: True, anew["number"]: False}
    credited = command("invoice", "credit", anew["number"], "--line", "1=0.01", "--reason", "r")
    assert f"Credited 0.01 USD of {anew['number']}" in credited.stdout
    assert "0.00 of it is on account" in credited.stdout
    twice = ("--line", "1=0.01", "--line", "1=0.02", "--reason", "r")
    assert "line 1 twice" in command.refusal("invoice", "credit", anew["number"], *twice)


def test_settling_twice_writes_nothing_the_second_time(
    command: CommandLine, tmp_path: Path, shared_data: Path
) -> None:
    command.enter_factory(tmp_path)
    enter_card(command, tmp_path, amounts=("5", "15"))
    command("backfill", shared_data / "traces" / "azure_llm_2023_code.csv.gz", *AZURE)
    first = {row["stage"]: row["rows_written"] for row in command.json("settle")}
    assert first["rate"] > 0
    assert first["book_revenue"] > 0
    assert all(row["rows_written"] == 0 for row in command.json("settle"))
    assert "rate" in command("status").stdout


def test_unpriced_usage_is_listed_and_billed_once_priced(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    enter_card(command, tmp_path, amounts=("5", "15"))
    path = tmp_path / "log.csv"
    path.write_text("at,in,cached,out\n2024-03-01T10:00:00Z,3000000,1000000,1000000\n")
    options = (
        *("--map", "time=at", "--map", "input=in", "--map", "cache_read=cached"),
        *("--map", "output=out", "--set", "customer=acme", "--set", "model=m"),
    )
    command("backfill", path, *options)
    command("settle")
    (waiting,) = command.items("unpriced", "list")
    assert (waiting["meter"], waiting["quantity"]) == ("input_cache_read", 1_000_000)
    period = ("--at", "2024-03-15")
    assert "price" in command.refusal("invoice", "issue", "acme-list", *period)
    run = command("invoice", "run", "factory", *period, status=1)
    assert "parked: invoice of factory acme-list" in run.stderr
    assert "acme-list" in command("status").stdout
    prices = tmp_path / "prices.csv"
    prices.write_text(
        "rate_card_id,meter,amount,valid_from\nlist,cached_input,0.5,2023-01-01T00:00:00Z\n"
    )
    command("import", "rate-card", prices)
    command("invoice", "run", "factory", *period, "--release", "acme", status=2)
    released = ("--release", "acme", "--reason", "looked at")
    assert command.json("invoice", "run", "factory", *period, *released)["issued"] == 1
    (issued,) = command.items("invoice", "list")
    assert issued["payable"] == "25.50"
    assert command.json("invoice", "run", "factory", *period)["totals"] == []
    assert command.items("unpriced", "list") == []


def test_books_are_exported_and_the_same_again(
    command: CommandLine, tmp_path: Path, shared_data: Path
) -> None:
    command.enter_factory(tmp_path)
    enter_card(command, tmp_path, amounts=("5", "15"))
    command("backfill", shared_data / "traces" / "azure_llm_2023_code.csv.gz", *AZURE)
    command("settle")
    month = ("--month", "2023-11")
    folder = tmp_path / "books"
    command("export", "journal_lines", "usage", *month, "--output", folder)
    lines = (folder / "usage.csv").read_text().splitlines()
    assert len(lines) > 2
    again = command("export", "usage", *month, "--stdout")
    assert again.stdout_bytes == (folder / "usage.csv").read_bytes()
    command("export", "usage", "journal_lines", *month, "--stdout", status=2)
    command("export", "nothing", status=2)


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("America/New_York", "2024-03-01", "2024-03-01T05:00:00.000000Z"),
        ("Pacific/Auckland", "2024-02-29", "2024-01-31T11:00:00.000000Z"),
        ("Pacific/Auckland", "2024-03-01T00:00:00Z", "2024-02-29T11:00:00.000000Z"),
    ],
)
def test_a_day_is_of_the_subscription_zone(
    command: CommandLine, tmp_path: Path, zone: str, day: str, first: str
) -> None:
    command.enter_factory(tmp_path)
    enter_card(command, tmp_path, amounts=("5", "15"))
    path = tmp_path / "subscriptions.csv"
    path.write_text(
        "subscription_id,customer_id,rate_card_id,zone,valid_from\n"
        f"acme-list,acme,list,{zone},2024-01-01T00:00:00Z\n"
    )
    command("import", "subscriptions", path, "--replace")
    draft = command.json("invoice", "preview", "acme-list", "--at", day)
    assert draft["period_start"] == first
    shown = command("invoice", "preview", "acme-list", "--at", day).stdout
    assert f"({zone}), amounts in USD" in shown.replace("\n", " ")


def test_a_day_on_which_a_subscription_begins_is_its_first(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    enter_card(command, tmp_path, amounts=("5", "15"))
    draft = command.json("invoice", "preview", "acme-list", "--at", "2023-01-01")
    assert draft["period_start"] == "2023-01-01T00:00:00.000000Z"
    said = command.refusal("invoice", "preview", "acme-list", "--at", "2022-12-31")
    assert said.startswith("Subscription 'acme-list' is not valid at 2022-12-31.")


def enter_usage(command: CommandLine, folder: Path, tokens: str, requests: int = 1) -> None:
    """A factory with a card, and usage of acme in March of so many tokens in and out."""
    command.enter_factory(folder)
    enter_card(command, folder, amounts=("5", "15"))
    path = folder / "log.csv"
    path.write_text(f"at,in,out\n2024-03-01T10:00:00Z,{tokens}\n")
    columns = ("--map", "time=at", "--map", "input=in", "--map", "output=out")
    fixed = ("--set", "customer=acme", "--set", "model=m", "--set", f"requests={requests}")
    command("backfill", path, *columns, *fixed)


def test_a_narrow_terminal_shows_fewer_columns_and_whole_numbers(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_usage(command, tmp_path, "123456789012,987654321098", requests=1_000_000)
    for width in (40, 60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        done = command("report", "usage", "--month", "2024-03")
        assert max(map(len, done.stdout.splitlines())) <= width
        assert ("123,456,789,012" in done.stdout) == (width > 40)
    monkeypatch.setenv("COLUMNS", "40")
    assert "requests, input, cached" in command("report", "usage", "--month", "2024-03").stderr
    wide = command("report", "usage", "--month", "2024-03", "--wide")
    assert "987,654,321,098" in wide.stdout
    assert "Not shown" not in wide.stderr


def test_a_name_no_font_shows_is_refused_before_a_number_is_taken(
    command: CommandLine, tmp_path: Path
) -> None:
    enter_usage(command, tmp_path, "1000000,1000000")
    asked = ("acme-list", "--at", "2024-03-15")

    def call_it(name: str) -> None:
        command("change", "customer", "acme", "--from", "2024-01-01", "--set", f"name={name}")

    call_it("Acme 🚀")
    draft = command.json("invoice", "preview", *asked)
    assert draft["without_font"] == [{"where": "the name of the buyer", "sign": "🚀"}]
    assert draft["payable"] == "20.00"
    assert "Cannot be issued so: No font here shows" in command("invoice", "preview", *asked).stdout
    said = command.refusal("invoice", "issue", *asked)
    assert "'🚀' in the name of the buyer" in said
    command(
        "change",
        "customer",
        "acme",
        "--from",
        "2024-01-01",
        "--set",
        "name=株式会社テスト شركة Żółć",
    )
    assert command.json("invoice", "preview", *asked)["without_font"] == []
    (issued,) = command.items("invoice", "issue", *asked)
    assert issued["number"].endswith("-000001")


def test_everything_that_can_be_said_is_exported_and_the_rest_named(
    command: CommandLine, tmp_path: Path
) -> None:
    enter_usage(command, tmp_path, "1000000,1000000")
    command("invoice", "issue", "acme-list", "--at", "2024-03-15")
    done = command("export", "all", "--month", "2024-03", "--output", tmp_path / "out")
    assert "Left out margins.csv: Entity 'factory' has no cost" in done.stderr
    written = {each.name for each in (tmp_path / "out").iterdir()}
    assert "Left out costs.csv: The period has nothing of it." in done.stderr
    assert not {"margins.csv", "costs.csv"} & written
    assert all(len(each.read_text().splitlines()) > 1 for each in (tmp_path / "out").iterdir())
    assert {"invoices.csv", "invoice_lines.csv", "usage.csv", "journal_lines.csv"} <= written
    assert "invoices.csv, of usage in the period." in done.stdout
    assert len((tmp_path / "out" / "invoices.csv").read_text().splitlines()) == 2
    assert len((tmp_path / "out" / "invoice_lines.csv").read_text().splitlines()) == 3
    by_issue = ("--invoices-by", "issue", "--stdout")
    assert command("export", "invoices", "--month", "2024-03", *by_issue).stdout.count("\n") == 1
    assert "has no cost" in command.refusal("export", "margins", "--month", "2024-03")
