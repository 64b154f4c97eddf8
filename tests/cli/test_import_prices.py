"""Published price tables become rate cards: odd rows are held, and changes are shown first."""

import gzip
import io
import json
import tarfile
import time
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.cli.command_line import CommandLine

JULY, FEBRUARY = "2024-07-25", "2025-02-11"
ON_CARD = ("--card", "list")
NEW_CARD = (*ON_CARD, "--entity", "factory")


def table_of(folder: Path, table: object) -> Path:
    file = folder / "table.json"
    file.write_text(table if isinstance(table, str) else json.dumps(table))
    return file


def priced(**costs: object) -> dict[str, object]:
    plain = {"input_cost_per_token": "0.0000025", "output_cost_per_token": "0.00001"}
    return {"mode": "chat", **plain, **costs}


def changes(said: Mapping[str, Any]) -> Counter[str]:
    return Counter(row["change"] for row in said["changes"])


def test_litellms_table_is_a_card_within_five_seconds(
    command: CommandLine, shared_data: Path, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    file = shared_data / "prices" / "litellm_model_prices.json"
    began = time.process_time()
    said = command.json("import", "litellm", file, *NEW_CARD, "--since", JULY, "--apply")
    assert time.process_time() - began < 5
    assert said["models"] == 2_984
    assert changes(said) == {"new": 8_347}
    held = {row["model"]: row["rule"] for row in said["held"]}
    assert held["claude-3-haiku-20240307"] == "written"
    assert held["perplexity/sonar-deep-research"] == "thought"
    assert held["azure/gpt-realtime-2025-08-28"] == "cached"
    assert held["wandb/openai/gpt-oss-20b"] == "unit"
    assert held["databricks/databricks-claude-opus-4"] == "digits"
    assert held["azure_ai/model_router"] == "output"
    assert held["gpt-realtime-whisper"] == "digits"
    assert len(held) == 72
    assert said["left_out"]["input_cost_per_pixel"] == 45
    assert said["left_out"]["input_characters, priced by tokens"] == 6
    assert said["left_out"]["input_pages, priced by tokens"] == 1
    assert (
        said["left_out"]
        .keys()
        .isdisjoint({"output_cost_per_image", "search_context_cost_per_query", "ocr_cost_per_page"})
    )
    _check_extras(command, said)
    banded = ("claude-sonnet-4-20250514", "--context", "200001", "--at", "2026-01-01")
    for context, amount in ((banded, 200_000), (banded[:1] + banded[3:], None)):
        rows = command.json("price", "explain", "list", "input", "--model", *context)["prices"]
        assert [row["band_from"] for row in rows if row["applies"]] == [amount]
    again = command.json("import", "litellm", file, *ON_CARD, "--since", JULY)
    assert (again["changes"], again["unchanged"]) == ([], 8_347)


def _check_extras(command: CommandLine, said: dict[str, Any]) -> None:
    """Amounts of what is no token, or a part of them, as the table has them."""
    after = {(row["model"], row["meter"]): row["after"] for row in said["changes"]}
    assert after["claude-opus-4-20250514", "input_cache_write_1h"] == "30"
    assert after["claude-opus-4-20250514", "web_search_calls"] == "10000"
    for meter, model, amount, per in (
        ("web_search_calls", "claude-opus-4-20250514", "0.01", 1),
        ("web_search_low_calls", "perplexity/sonar", "0.005", 1),
        ("web_search_high_calls", "perplexity/sonar", "0.012", 1),
        ("web_search_calls", "perplexity/sonar", "0.008", 1),
        ("code_interpreter_sessions", "openai/container", "0.03", 1),
        ("output_video_ms", "openai/sora-2", "0.1", 1_000),
        ("input_audio_ms", "whisper-1", "0.0001", 1_000),
        ("output_images", "vertex_ai/imagegeneration@006", "0.02", 1),
        ("input_cache_write_1h", "claude-opus-4-20250514", "30", 1_000_000),
    ):
        rows = command.json("price", "explain", "list", meter, "--model", model)["prices"]
        (terms,) = [row["terms"] for row in rows if row["applies"]]
        assert (terms["amount"], terms["per"]) == (amount, per)


def test_what_changes_is_shown_before_it_is_entered(
    command: CommandLine, shared_data: Path, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    older, newer = (
        shared_data / "prices" / f"tokencost_model_prices_{day}.json.gz" for day in (JULY, FEBRUARY)
    )
    command("import", "tokencost", older, *NEW_CARD, "--since", JULY, "--apply")
    asked = ("import", "tokencost", newer, *ON_CARD, "--since", FEBRUARY)
    shown = command.json(*asked)
    counts = changes(shown)
    assert (counts["rose"], counts["fell"], counts["vanished"]) == (10, 37, 26)
    fell = [row for row in shown["changes"] if row["model"] == "gpt-4o" and row["change"] == "fell"]
    assert {(row["meter"], row["before"], row["after"]) for row in fell} == {
        ("input_uncached", "5", "2.5"),
        ("output_visible", "15", "10"),
    }
    assert {row["model"] for row in shown["held"] if row["rule"] == "jump"} >= {"command"}
    assert changes(command.json(*asked)) == counts, "what is only shown changes nothing"
    text = command(*asked).stdout
    assert "say --apply" in text
    assert "Vanished: 26 prices" in text
    assert changes(command.json(*asked, "--apply")) == counts
    after = command.json(*asked)
    assert changes(after) == {"vanished": 26}, "what vanished stays until it is ended by hand"
    assert command.json(*asked, "--accept", "jump")["changes"] != after["changes"]
    for at, amount in (("2025-02-10", "5"), ("2025-02-11", "2.5")):
        told = command.json("price", "explain", "list", "input", "--model", "gpt-4o", "--at", at)
        (applied,) = [row for row in told["prices"] if row["applies"]]
        assert applied["terms"]["amount"] == amount
    assert "has price" in command.refusal("import", "tokencost", older, *ON_CARD, "--since", JULY)


def test_models_dev_is_read_packed_and_as_json(
    command: CommandLine, shared_data: Path, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    packed = shared_data / "prices" / "modelsdev_providers_dev.tar.gz"
    said = command.json("import", "modelsdev", packed, *NEW_CARD, "--since", JULY, "--apply")
    assert (said["models"], said["unpriced"]) == (179, 15)
    some = command.json(
        "import", "modelsdev", packed, *ON_CARD, "--since", JULY, "--provider", "xai"
    )
    assert changes(some).keys() == {"vanished"}
    grok = {"input": 1.25, "output": 2.5, "cache_read": 0.2, "input_audio": 3}
    over = {"tiers": [{"tier": {"size": 200_000}, "input": 2.5, "output": 5}]}
    table = {
        "xai": {"models": {"grok": {"cost": {**grok, **over}}, "free": {"cost": {"input": 0}}}}
    }
    file = table_of(tmp_path, table)
    said = command.json(
        "import", "modelsdev", file, "--card", "xai", "--entity", "factory", "--since", JULY
    )
    assert said["left_out"] == {}
    assert {(row["meter"], row["band_from"], row["after"]) for row in said["changes"]} == {
        ("input_uncached", None, "1.25"),
        ("output_visible", None, "2.5"),
        ("input_cache_read", None, "0.2"),
        ("input_audio", None, "3"),
        ("input_uncached", 200_000, "2.5"),
        ("output_visible", 200_000, "5"),
    } | {("input_uncached", None, "0")}
    assert "no provider x" in command.refusal(
        "import", "modelsdev", packed, *ON_CARD, "--since", JULY, "--provider", "x"
    )


ODD: Mapping[str, tuple[dict[str, object], str]] = {
    "negative": (priced(input_cost_per_token="-0.000001"), "negative"),
    "finer than twelve decimals": (priced(input_cost_per_token="0.0000012345678"), "digits"),
    "a million times too dear": (priced(output_cost_per_token=10), "unit"),
    "a million times too cheap": (
        priced(input_cost_per_token="0.0000000001", output_cost_per_token="0.0000000001"),
        "unit",
    ),
    "cached dearer than input": (priced(cache_read_input_token_cost="0.000003"), "cached"),
    "written cheaper than input": (priced(cache_creation_input_token_cost="0.000001"), "written"),
    "thought for next to nothing": (priced(output_cost_per_reasoning_token="0.000001"), "thought"),
    "output for next to nothing": (priced(output_cost_per_token="0.00000001"), "output"),
    "a band of nobody": (priced(input_cost_per_token_above_33k_tokens="0.000005"), "band"),
    "no number": (priced(input_cost_per_token="cheap"), "unreadable"),
    "a word for a number": (priced(input_cost_per_token=True), "unreadable"),
    "a number of a thousand digits": (priced(input_cost_per_token="1e-4000"), "unreadable"),
    "two prices": (
        priced(cache_read_input_token_cost="0.000001", input_cost_per_token_cache_hit="0.000002"),
        "unreadable",
    ),
    "ranges that are none": (priced(tiered_pricing=[{"range": 5}]), "unreadable"),
}


def test_odd_rows_are_held_by_their_rule_and_hold_up_no_other(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    plain = {f"m{n}": priced() for n in range(20)}
    file = table_of(tmp_path, {**plain, **{what: row for what, (row, _) in ODD.items()}})
    said = command.json("import", "litellm", file, *NEW_CARD, "--since", JULY, "--apply")
    rules = {what: rule for what, (_, rule) in ODD.items()}
    assert {each["model"]: each["rule"] for each in said["held"]} == rules
    assert changes(said) == {"new": 40}
    for rule in sorted(set(rules.values()) & {"unit", "cached", "written", "thought", "output"}):
        said = command.json("import", "litellm", file, *ON_CARD, "--since", JULY, "--accept", rule)
        taken = {what for what, broken in rules.items() if broken == rule}
        assert {row["model"] for row in said["changes"]} == taken
        assert taken.isdisjoint({each["model"] for each in said["held"]})


WRONG = {
    "no JSON": ("{", "is not JSON"),
    "a list": ([1], "is no object"),
    "a name twice": ('{"a": 1, "a": 2}', "stands twice"),
    "per million": (
        {f"m{n}": priced(input_cost_per_token=3, output_cost_per_token=9) for n in range(3)},
        "another unit",
    ),
}


def test_a_file_that_is_no_such_table_is_refused(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    for table, said in WRONG.values():
        file = table_of(tmp_path, table)
        asked = ("import", "litellm", file, *NEW_CARD, "--since", JULY, "--apply")
        assert said in command.refusal(*asked)
    assert command.items("list", "rate-cards") == []


def test_a_card_of_nobody_and_a_start_within_a_quarter_hour_are_refused(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    file = table_of(tmp_path, {"m": priced()})
    assert "--entity" in command.refusal("import", "litellm", file, *ON_CARD, "--since", JULY)
    late = ("--since", "2024-07-25T00:01:00Z")
    assert "quarter hour" in command.refusal("import", "litellm", file, *NEW_CARD, *late)


def test_a_book_whose_unit_changed_by_a_thousand_is_refused_as_a_whole(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    dear = {f"m{n}": priced() for n in range(4)}
    cheap = {
        name: {
            key: f"{Decimal(str(cost)) / 2_000}" if "cost" in key else cost
            for key, cost in row.items()
        }
        for name, row in dear.items()
    }
    command("import", "litellm", table_of(tmp_path, dear), *NEW_CARD, "--since", JULY, "--apply")
    asked = ("import", "litellm", table_of(tmp_path, cheap), *ON_CARD, "--since", FEBRUARY)
    assert "the unit changed" in command.refusal(*asked, "--accept", "jump", "--apply")


def test_packed_files_that_are_none_are_refused(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)

    def packed(name: str, text: bytes) -> Path:
        file, held = tmp_path / "table.tar.gz", io.BytesIO()
        with tarfile.open(fileobj=held, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        file.write_bytes(gzip.compress(held.getvalue()))
        return file

    asked = (*NEW_CARD, "--since", JULY)
    for name, text, said in (
        ("other/x.toml", b"", "has no file"),
        ("providers/a/models/b.toml", b"[cost", "cannot be read"),
        ("providers/a/models/b.toml", b"x = '" + b"y" * 2**20 + b"'", "is no file of a model"),
    ):
        assert said in command.refusal("import", "modelsdev", packed(name, text), *asked)
    tier = b"[cost]\ninput = inf\n"
    said = command.json("import", "modelsdev", packed("providers/a/models/b.toml", tier), *asked)
    assert [row["rule"] for row in said["held"]] == ["unreadable"]
