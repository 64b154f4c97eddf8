"""`--preview` of what is imported or ended: shown as tables or JSON, and nothing is entered."""

from pathlib import Path

from tests.cli.command_line import CommandLine
from tests.cli.test_report_coverage import in_books
from tests.flows.billing import WINDOW, subscribed
from tests.flows.test_close import MILLION
from tests.support.books import Books

PRICES = """rate_card_id,meter,amount,valid_from
card-acme,input,7,2023-11-16T00:00:00Z
"""


async def used(books: Books) -> None:
    await subscribed(books.connection)
    await books.usage(WINDOW, MILLION)


def test_an_import_shows_what_it_would_move(command: CommandLine, tmp_path: Path) -> None:
    in_books(command, used)
    command("settle")
    listed, path = command.items("list", "prices"), tmp_path / "prices.csv"
    path.write_text(PRICES)
    ask = ("import", "rate-card", path, "--replace", "--preview")
    said = command.json(*ask)
    assert [(row["account"], row["difference"]) for row in said["accounts"]] == [
        ("1150", "2"),
        ("4000", "-2"),
    ]
    shown = command(*ask, "--wide").stdout
    assert "Income:Usage:Tokens" in shown
    assert shown.endswith("Nothing was entered.\n")
    end = ("end", "price", "card-acme", "--of", "meter=output", "--from", "2023-11-01T00:00:00Z")
    assert "It would move nothing in the books." in command(*end, "--preview").stdout
    assert command.items("list", "prices") == listed


def test_a_refused_import_is_refused_with_its_line(command: CommandLine, tmp_path: Path) -> None:
    in_books(command, used)
    path = tmp_path / "prices.csv"
    path.write_text(PRICES + "nobodys,input,7,2023-11-16T00:00:00Z\n")
    ask = ("import", "rate-card", path, "--replace")
    assert command.refusal(*ask, "--preview") == command.refusal(*ask)
