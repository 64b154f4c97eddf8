"""Published logs are read by their presets alone, to the last token and digit of a price."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ledger.commands.data.presets.mooncake import read_mooncake
from ledger.domain.errors import InvalidInputError
from tests.cli.command_line import CommandLine

DAY = "2025-02-25"
MARCH = ("--from", "2025-02-01", "--to", "2025-08-01")
LINE = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [7, 8]}


def sold_to(command: CommandLine, folder: Path, customer: str, card: str) -> None:
    """A customer of the factory on a card since before its usage."""
    rows = {
        "customers": f"customer_id,entity_id,name\n{customer},factory,{customer}\n",
        "subscriptions": "subscription_id,customer_id,rate_card_id,valid_from\n"
        f"sub-{customer},{customer},{card},2025-01-01T00:00:00Z\n",
    }
    for kind, text in rows.items():
        file = folder / f"{kind}.csv"
        file.write_text(text)
        command("import", kind, file)


def three_prices(command: CommandLine, folder: Path) -> None:
    """The card of the acceptance: 2.50 of input, 1.25 of cached input, 10.00 of output."""
    amounts = {"input": "2.50", "cached_input": "1.25", "output": "10.00"}
    card = {"rate_card_id": "three", "entity_id": "factory", "name": "Three", "currency": "USD"}
    file = folder / "card.json"
    file.write_text(json.dumps([card]))
    command("import", "rate-cards", file)
    file.write_text(
        json.dumps(
            [
                {
                    "rate_card_id": "three",
                    "meter": meter,
                    "amount": amount,
                    "valid_from": "2025-01-01T00:00:00Z",
                }
                for meter, amount in amounts.items()
            ]
        )
    )
    command("import", "rate-card", file)


def revenue(command: CommandLine) -> Decimal:
    command("rate")
    charged = command.json("report", "charges", *MARCH, "--by", "meter")["items"]
    assert not any(row["unpriced_quantity"] for row in charged)
    return sum((Decimal(row["amount"]) for row in charged), Decimal(0))


def test_mooncake_is_read_by_its_preset_alone(
    command: CommandLine, shared_data: Path, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    three_prices(command, tmp_path)
    sold_to(command, tmp_path, "mooncake", "three")
    trace = shared_data / "traces" / "mooncake_conversation.jsonl.gz"
    done = command.json("backfill", trace, "--preset", "mooncake")
    assert (done["rows"], done["created"]) == (12_031, 12_031)
    usage = command.json("report", "usage", *MARCH)["total"]
    assert usage["input_tokens"] == 144_793_823
    assert usage["output_tokens"] == 4_122_048
    assert usage["cache_read"] == 54_098_411
    assert revenue(command) == Decimal("335.58202375")
    again = command.json("backfill", trace, "--preset", "mooncake")
    assert again["duplicate"] == 12_031


def test_aider_runs_come_to_what_they_say_by_the_book_of_models_dev(
    command: CommandLine, shared_data: Path, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    book = shared_data / "prices" / "modelsdev_providers_dev.tar.gz"
    on_card = ("--card", "book", "--entity", "factory", "--since", "2025-01-01")
    command("import", "modelsdev", book, *on_card, "--apply")
    sold_to(command, tmp_path, "aider", "book")
    runs = shared_data / "traces" / "aider_polyglot_runs_to_2025-07.yml"
    done = command.json("backfill", runs, "--preset", "aider", "--against", "book")
    assert (done["rows"], done["created"]) == (17, 17)
    costs = {
        (each["model"], each["said"]): (each["reconciles"], each["by_card"])
        for each in done["provider_costs"]
    }
    assert costs["claude-opus-4-20250514", "68.6253"] == (True, "68.62533000")
    assert costs["claude-opus-4-20250514", "65.7484"] == (True, "65.74836000")
    assert costs["o3-pro", "146.3249"] == (True, "146.32488000")
    assert costs["o3", "13.7517"] == (False, "15.02451400")
    shown = command("backfill", runs, "--preset", "aider", "--against", "book", "--dry-run").stdout
    assert "reconciles" in shown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hash_ids": [7]}, "not of 512 tokens"),
        ({"hash_ids": "7"}, "not of 512 tokens"),
        ({"input_length": -1}, "no counts"),
        ({"timestamp": "soon"}, "no counts"),
        ({"timestamp": 10**12}, "over a year"),
        ({"output_length": True}, "no counts"),
    ],
    ids=["a block too few", "no list", "below zero", "no time", "a century", "no number"],
)
def test_a_line_that_is_no_request_of_mooncake_is_named(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text(f"{json.dumps(LINE)}\n{json.dumps({**LINE, **change})}\n")
    rows = read_mooncake(file, datetime(2025, 2, 25, tzinfo=UTC))
    assert next(rows) == (1, ["2025-02-25T00:00:00.000000Z", 600, 0, 5])
    with pytest.raises(InvalidInputError, match=f"line 2 .*{said}"):
        next(rows)


def test_files_that_are_no_runs_of_aider_are_refused(command: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "runs.yml"
    asked = ("backfill", file, "--preset", "aider")
    for text, said in (("a: [", "is not YAML"), ("a: 1", "no list of runs"), ("- x", "no list")):
        file.write_text(text)
        assert said in command.refusal(*asked)
    file.write_text("- prompt_tokens: many\n  date: today\n")
    assert "no rate card" in command.refusal(*asked, "--against", "none")
    done = command.json(*asked, status=1)
    assert done["rejected"] == 1
    columns = command("backfill", file, "--preset", "aider", "--map", "input=x", status=2)
    assert "knows its columns" in columns.output
