"""Bills of utilities from a file, whole or not at all, and the report that holds them to meters."""

from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.test_import_urdb import LEASED, enter_site

HEAD = "bill_id,facility_id,first_day,last_day,kwh,amount,tax,currency,covers,reference,final\n"
MARCH = "m-1,site,2023-03-01,2023-03-31,{kwh},{amount},1.90,USD,electricity; demand,No. 7,{final}\n"
APRIL = "m-2,site,2023-04-01,2023-04-30,10,5,0,USD,,,\n"
PERIOD = ("--entity", "factory", "--from", "2023-03-01", "--to", "2023-05-01")


def bills(folder: Path, *, kwh: str = "41", amount: str = "10", final: str = "true") -> Path:
    """A file of two bills."""
    path = folder / "bills.csv"
    path.write_text(HEAD + MARCH.format(kwh=kwh, amount=amount, final=final) + APRIL)
    return path


@pytest.fixture
def command(command: CommandLine, tmp_path: Path) -> CommandLine:
    """A site with hardware on lease."""
    enter_site(command, tmp_path)
    path = tmp_path / "assets.csv"
    path.write_text(LEASED)
    command("import", "assets", path)
    return command


def test_a_file_of_bills_is_entered_once_and_listed(command: CommandLine, tmp_path: Path) -> None:
    path = bills(tmp_path)
    assert command.json("import", "utility-bills", path)["entered"] == 2
    assert command.json("import", "utility-bills", path)["entered"] == 0
    first, second = command.items("list", "utility-bills")
    assert (first["first_day"], first["last_day"]) == ("2023-03-01", "2023-03-31")
    assert (first["kwh"], first["amount"], first["tax"]) == ("41", "10", "1.90")
    assert (first["covers"], first["final"]) == (["electricity", "demand"], True)
    assert (second["covers"], second["reference"]) == (["electricity"], "")


def test_a_bill_is_replaced_only_where_that_is_said(command: CommandLine, tmp_path: Path) -> None:
    command("import", "utility-bills", bills(tmp_path, final="false"))
    refused = command.refusal(
        "import", "utility-bills", bills(tmp_path, amount="11", final="false")
    )
    assert "The estimated utility bill m-1 of site is already recorded 2023-03-01 to" in refused
    command("import", "utility-bills", bills(tmp_path, amount="12"))
    path = bills(tmp_path, amount="13")
    assert "The final utility bill m-1" in command.refusal("import", "utility-bills", path)
    command("import", "utility-bills", path, "--replace")
    assert [each["amount"] for each in command.items("list", "utility-bills")] == ["13", "5"]


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("2023-03-31", "2199-03-31", "are not over in America/Chicago"),
        ("2023-03-31", "2023-04-01", "utility bill m-1 of site is already recorded"),
        ("41", "-41", "kwh: found '-41'; send 0 or more"),
        ("41", "forty", "kwh"),
        ("USD", "EUR", "is in USD then, the bill in EUR"),
        ("m-1,site", "m-1,elsewhere", "There is no facility elsewhere"),
        ("2023-03-01,2023-03-31", "2001-03-01,2001-03-31", "No GPU of ours is at site"),
        ("2023-03-01", "2023-13-01", "first_day"),
    ],
)
def test_a_wrong_bill_keeps_its_file_out(
    command: CommandLine, tmp_path: Path, wrong: str, right: str, said: str
) -> None:
    path = bills(tmp_path)
    path.write_text(path.read_text().replace(wrong, right, 1))
    assert said in command.refusal("import", "utility-bills", path)
    assert command.items("list", "utility-bills") == []


def test_a_bill_without_readings_says_so(command: CommandLine, tmp_path: Path) -> None:
    command("import", "utility-bills", bills(tmp_path))
    report = command.json("report", "bills", *PERIOD)
    assert [each["reasons"] for each in report["bills"]] == [["no_readings", "nothing_accrued"]] * 2
    assert report["bills"][0]["days_without_readings"] == 31
    assert report["bills"][0]["energy_off_pct"] is None
    shown = command("report", "bills", *PERIOD).stdout
    assert "no readings, nothing accrued" in " ".join(shown.split())
