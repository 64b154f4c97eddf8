"""Slow facts from files: every form, whole files or nothing, and errors that say where."""

import gzip
import json
import time
from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine

ENERGINET = "electricity/energinet_elspot_2024_DK1_DE.csv.gz"


def test_csv_is_entered_once_and_again_changes_nothing(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "customers.csv"
    path.write_text("customer_id,entity_id,name,is_test\na,factory,A,true\nb,factory,Bé,\n")
    first = command.json("import", "customers", path)
    assert first == {"kind": "customers", "rows": 2, "entered": 2}
    again = command("import", "customers", path)
    assert "2 rows read, recorded already" in again.stdout


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
@pytest.mark.parametrize("packed", [False, True])
def test_form_and_packing_are_told_by_content(
    command: CommandLine, tmp_path: Path, form: str, packed: bool
) -> None:
    rows = [
        {"entity_id": "one", "name": "One", "currency": "EUR", "zone": "UTC"},
        {"entity_id": "two", "name": "Two", "currency": "USD", "zone": "UTC"},
    ]
    lines = {
        "json": json.dumps(rows),
        "ndjson": "\n".join(json.dumps(row) for row in rows),
        "csv": "\n".join(",".join(row) for row in [list(rows[0]), *(r.values() for r in rows)]),
    }
    body = lines[form].encode()
    path = tmp_path / "entities.dat"
    path.write_bytes(gzip.compress(body) if packed else body)
    assert command.json("import", "entities", path)["entered"] == 2


def test_one_bad_row_enters_nothing_and_every_problem_names_its_line(
    command: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "entities.csv"
    path.write_text("entity_id,name,currency,zone\na,A,EUR,UTC\nb,B,euro,UTC\nc,C,EUR,Mars\n")
    said = command.refusal("import", "entities", path)
    assert "line 3: currency: found 'euro'" in said
    assert "line 4: zone: found 'Mars'" in said
    path.write_text("entity_id,name,currency,zone\na,A,EUR,UTC\n")
    assert command.json("import", "entities", path)["entered"] == 1


def test_refusal_in_the_database_undoes_the_file_and_names_its_line(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "more.csv"
    path.write_text("customer_id,entity_id,name\nx,factory,X\ny,nobody,Y\n")
    assert "Line 3: There is no entity nobody" in command.refusal("import", "customers", path)
    path.write_text("customer_id,entity_id,name\nx,factory,X\n")
    assert command.json("import", "customers", path)["entered"] == 1


def test_broken_files_say_what_is_wrong(command: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "entities.csv"
    path.write_bytes(gzip.compress(b"entity_id,name\n" * 1000)[:-20])
    assert "broken gzip" in command.refusal("import", "entities", path)
    path.write_bytes(b"entity_id,name\n\xff\xfe,b\n")
    assert "line 2 is not UTF-8" in command.refusal("import", "entities", path)
    path.write_text("entity_id,name\na\n")
    assert "line 2 has 1 cells, its header 2" in command.refusal("import", "entities", path)
    path.write_text("")
    assert "is empty" in command.refusal("import", "entities", path)
    path.write_text("entity_id,nam\na,b\n")
    assert "nam: found 'b'; leave it out" in command.refusal("import", "entities", path)


def test_prices_are_superseded_with_replace_only(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    cards = tmp_path / "cards.json"
    cards.write_text(
        '[{"rate_card_id": "list", "entity_id": "factory", "name": "List", "currency": "EUR"}]'
    )
    command("import", "rate-cards", cards)
    path = tmp_path / "prices.csv"
    head = "rate_card_id,meter,amount,valid_from\n"
    path.write_text(head + "list,input,5,2024-01-01T00:00:00Z\n")
    command("import", "rate-card", path)
    path.write_text(head + "list,input,6,2024-02-01T00:00:00Z\n")
    assert "already recorded" in command.refusal("import", "rate-card", path)
    assert command.json("import", "rate-card", path, "--replace")["entered"] == 1
    command("import", "customers", path, "--replace", status=2)


def test_published_fx_rates_are_read_by_a_map(
    command: CommandLine, tmp_path: Path, shared_data: Path
) -> None:
    path = shared_data / "fx" / "ecb_eurofxref_2022-2026.csv.gz"
    mapped = ("--map", "day=Date", "--map", "rate=USD")
    fixed = ("--set", "base=EUR", "--set", "quote=USD", "--set", "source=ECB")
    done = command.json("import", "fx", path, *mapped, *fixed, "--where", "Date=2024-03-01")
    assert done["entered"] == 1
    assert "has no column Day" in command.refusal("import", "fx", path, "--map", "day=Day", *fixed)


def test_a_published_table_of_rates_is_entered_whole_in_a_second_or_two(
    command: CommandLine, shared_data: Path
) -> None:
    path = shared_data / "fx" / "ecb_eurofxref_2022-2026.csv.gz"
    shape = ("--map", "day=Date", "--set", "base=EUR", "--set", "source=ECB")
    began = time.process_time()
    quotes = ("--quotes", "USD,JPY,GBP,CHF,SEK,HRK")
    done = command.json("import", "fx", path, *shape, *quotes)
    assert time.process_time() - began < 5
    # HRK was quoted to the end of 2022 only: 257 working days.
    assert done == {"kind": "fx", "rows": 1_093, "entered": 5 * 1_093 + 257, "skipped": 836}
    again = command("import", "fx", path, *shape, *quotes).stdout
    assert again == ("fx: 1,093 rows read, 836 cells without a value, the rest recorded already.\n")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("2024-03-29,EUR,USD,1.09", None),
        ("2024-03-29,EUR,USD,0.926", "EUR/USD of 2024-03-28 is 1.08"),
        ("2024-03-29,EUR,USD,108", "EUR/USD of 2024-03-28 is 1.08"),
        ("2024-03-29,USD,EUR,0.93", None),
        ("2024-03-29,USD,EUR,1.08", "EUR/USD of 2024-03-28 is 1.08"),
        ("2024-03-29,EUR,GBP,0.85", None),
        ("2024-05-29,EUR,USD,0.926", None),
    ],
)
def test_a_rate_far_from_the_one_before_is_told_once(
    command: CommandLine, tmp_path: Path, row: str, told: str | None
) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("day,base,quote,rate,source\n2024-03-28,EUR,USD,1.08,bank\n")
    command("import", "fx", path)
    path.write_text(f"day,base,quote,rate,source\n{row},bank\n")
    said = command("import", "fx", path).stderr
    assert (told in said) if told else (said == "")
    assert command("import", "fx", path).stderr == ""


def test_a_rate_of_what_is_no_currency_is_entered_and_told(
    command: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "rates.csv"
    rows = (
        "2001-03-28,EUR,DEM,1.95583,bank\n2001-03-28,EUR,USQ,0.88,bank\n2001-03-28,EUR,USD,0.88,b\n"
    )
    path.write_text(f"day,base,quote,rate,source\n{rows}")
    done = command("import", "fx", path)
    assert "3 FX rates entered" in done.stdout
    assert "No currency of today's ISO 4217: DEM, USQ." in done.stderr


def test_a_rate_that_was_not_quoted_is_skipped_and_one_that_is_no_number_is_not(
    command: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "rates.csv"
    shape = ("--map", "day=d", "--map", "rate=r", "--set", "base=EUR", "--set", "source=bank")
    path.write_text("d,r\n2024-03-28,1.08\n2024-03-29,N/A\n2024-03-30,\n2024-04-02,x\n")
    said = command.refusal("import", "fx", path, *shape, "--set", "quote=USD")
    assert "line 5: rate: found 'x'" in said
    unquoted = "2024-03-29,N/A\n2024-03-30,\n2024-03-31,-\n2024-04-01,NaN\n"
    path.write_text(f"d,r\n2024-03-28,1.08\n{unquoted}")
    done = command.json("import", "fx", path, *shape, "--set", "quote=USD")
    assert done == {"kind": "fx", "rows": 5, "entered": 1, "skipped": 4}
    assert "has no column JPY" in command.refusal("import", "fx", path, *shape, "--quotes", "JPY")
