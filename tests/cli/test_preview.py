"""`--preview` of what is imported or ended: shown as tables or JSON, and nothing is entered."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.cli.command_line import CommandLine
from tests.cli.test_report_coverage import in_books
from tests.flows.billing import DECEMBER, WINDOW, subscribed
from tests.flows.test_close import MILLION
from tests.support.books import Books

PRICES = """rate_card_id,meter,amount,valid_from
card-acme,input,7,2023-11-16T00:00:00Z
"""


LITELLM = """{"llama": {"mode": "chat", "input_cost_per_token": 9e-06,
 "output_cost_per_token": 1.5e-05, "max_input_tokens": 8000, "litellm_provider": "x"}}"""


# Windows that were allocated again, and the day that what they differ by is booked for.
REVISED = """SELECT c.window_start, max(c.revision), max(e.booked_for)
               FROM cost_allocation c, journal_entry e
              WHERE e.kind LIKE '%cost%' AND e.corrects IS NOT NULL AND c.revision > 1
              GROUP BY 1 ORDER BY 1"""


async def powered(books: Books) -> None:
    hour = WINDOW.replace(minute=0)
    until = hour + timedelta(hours=1)
    await books.facility()
    await books.lease(hour, until, all_in=False, currency="USD")
    await books.pue(hour, until, pue="1")
    await books.tariff([(hour, until, "100")], currency="USD")
    await books.deployment(hour, until, gpus=["GPU-1"])
    await books.readings("GPU-1", [(hour, 0), (until, 900_000_000)])


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


def test_a_whole_price_table_and_prices_of_a_tariff_show_it_too(
    command: CommandLine, tmp_path: Path
) -> None:
    in_books(command, used)
    in_books(command, powered)
    command("settle")
    table, prices = tmp_path / "table.json", tmp_path / "power.csv"
    table.write_text(LITELLM)
    prices.write_text("hour,price\n2023-11-16 18:00,200\n")
    card = ("import", "litellm", table, "--card", "card-acme", "--since", "2023-11-16")
    assert command.json(*card, "--accept", "jump", "--preview")["charges"][0]["after"] == "9"
    power = ("import", "tariff", prices, "--tariff", "power", "--time-column", "hour")
    how = ("--zone", "UTC", "--resolution", 60, "--price-column", "price", "--replace")
    said = command.json(*power, *how, "--preview")
    assert {row["kind"] for row in said["costs"]} == {"electricity"}
    assert command.json(*power, *how)["entered"] == 1


def test_a_closed_period_is_allocated_again_for_a_reason_once_its_difference_was_seen(
    command: CommandLine, tmp_path: Path
) -> None:
    in_books(command, used)
    in_books(command, powered)
    command("settle")
    (entity,) = (each["entity_id"] for each in command.items("list", "entities"))
    months = command.json("close", "status", entity)
    todo = [each["name"] for each in months["matters"] if each["count"]]
    accepted = [word for each in todo for word in ("--accept", each)]
    closing = ("close", "entity", entity, "--month", months["next"])
    command(*closing, *accepted, "--reason", "a test")
    prices = tmp_path / "power.csv"
    prices.write_text("hour,price\n2023-11-16 18:00,200\n")
    power = ("import", "tariff", prices, "--tariff", "power", "--time-column", "hour", "--zone")
    ask = (*power, "UTC", "--resolution", 60, "--price-column", "price", "--replace")
    seen = command.json(*ask, "--preview")
    assert seen["needs_reason"]
    assert {row["kind"] for row in seen["costs"]} == {"electricity"}
    assert {row["booked_in"] for row in seen["accounts"]} == {"2023-12"}
    assert "reason" in command.refusal(*ask)
    command(*ask, "--reason", "the supplier corrected it")
    command("settle")
    moved: list[tuple[Any, ...]] = []

    async def read(books: Books) -> None:
        moved.extend(tuple(row) for row in await books.connection.fetch(REVISED))

    in_books(command, read)
    # Whole windows, those of the hour and no others, and what they differ by in the next month.
    hour = WINDOW.replace(minute=0)
    assert moved == [(hour + n * timedelta(minutes=15), 2, DECEMBER) for n in range(4)]


def test_rates_factors_and_changed_details_enter_nothing_either(
    command: CommandLine, tmp_path: Path
) -> None:
    in_books(command, used)
    in_books(command, powered)
    rates, factors = tmp_path / "fx.csv", tmp_path / "grid.csv"
    rates.write_text("base,quote,day,rate,source\nEUR,USD,2023-11-16,1.08,ECB\n")
    factors.write_text("hour,g\n2023-11-16 18:00,300\n")
    change = ("change", "customer", "acme", "--from", "2023-11-01", "--set", "name=Acme Two")
    grid = ("import", "grid", factors, "--facility", "site", "--source", "x")
    how = (
        "--kind",
        "carbon_location",
        "--factor-column",
        "g",
        "--time-column",
        "hour",
        "--zone",
        "UTC",
        "--resolution",
        60,
    )
    for ask, path in (
        (("import", "fx", rates), "fx-rates"),
        ((*grid, *how), "grid-factors"),
        (change, "customers"),
    ):
        listed = command.items("list", path)
        assert command.json(*ask, "--preview")["accounts"] == []
        assert command(*ask, "--preview").stdout.endswith("Nothing was entered.\n")
        assert command.items("list", path) == listed
        command.json(*ask)
        assert command.items("list", path) != listed
    assert command.refusal(*change[:2], "nobody", *change[3:], "--preview") == command.refusal(
        *change[:2], "nobody", *change[3:]
    )


def test_a_refused_import_is_refused_with_its_line(command: CommandLine, tmp_path: Path) -> None:
    in_books(command, used)
    path = tmp_path / "prices.csv"
    path.write_text(PRICES + "nobodys,input,7,2023-11-16T00:00:00Z\n")
    ask = ("import", "rate-card", path, "--replace")
    assert command.refusal(*ask, "--preview") == command.refusal(*ask)
