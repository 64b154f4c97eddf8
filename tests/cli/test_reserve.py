"""Budgets and reservations on the command line: entered, held and released by file."""

from pathlib import Path

from tests.cli.command_line import CommandLine

BUDGET = "budget_id,customer_id,period,unit,amount,valid_from\nb,acme,ever,tokens,1000,{}\n"
ASKED = "reservation_id,customer_id,output_tokens_max\n"


def enter(command: CommandLine, folder: Path) -> None:
    command.enter_factory(folder)
    budgets = folder / "budgets.csv"
    budgets.write_text(BUDGET.format("2023-01-01T00:00:00Z"))
    for entered in (1, 0):
        assert command.json("import", "budgets", budgets)["entered"] == entered


def test_a_file_is_held_and_what_does_not_fit_is_named(
    command: CommandLine, tmp_path: Path
) -> None:
    enter(command, tmp_path)
    path = tmp_path / "asked.csv"
    path.write_text(f"{ASKED}r1,acme,600\nr2,acme,400\n")
    (first, second) = command.items("reserve", "hold", path)
    assert [first["holds"][0]["left"], second["holds"][0]["left"]] == ["400", "0"]
    assert "r1" in command("reserve", "hold", path).stdout
    path.write_text(f"{ASKED}r3,acme,1\n")
    assert "1 of 1 were refused: Reservation r3 needs 1 tokens" in command.refusal(
        "reserve", "hold", path
    )
    released = command.json("reserve", "release", "r1", "--customer", "acme")
    assert released == {"reservation_id": "r1", "state": "released"}
    command("reserve", "hold", path)
    (balance,) = command.items("list", "budget-balances")
    assert (balance["held"], balance["left"]) == ("401", "599")
    assert {row["state"] for row in command.items("list", "reservations")} == {"held", "released"}


def test_the_most_of_extras_is_shown(command: CommandLine, tmp_path: Path) -> None:
    enter(command, tmp_path)
    path = tmp_path / "asked.csv"
    said = {"a": "web_search_calls:5;input_audio:1", "b": ""}
    rows = [f"{name},acme,5,{extras}\n" for name, extras in said.items()]
    path.write_text(f"{ASKED.strip()},extras_max\n{''.join(rows)}")
    command("reserve", "hold", path)
    assert {
        row["reservation_id"]: row["extras_max"] for row in command.items("list", "reservations")
    } == {
        "a": {"web_search_calls": 5, "input_audio": 1},
        "b": None,
    }
    assert "web_search_calls:5" in command("show", "reservations", "a").stdout


def test_a_file_of_what_cannot_be_asked_is_refused(command: CommandLine, tmp_path: Path) -> None:
    enter(command, tmp_path)
    path = tmp_path / "asked.csv"
    for row, told in (
        ("r1,acme,0", "line 2: input_tokens_max"),
        ("r1,nobody,5", "no customer nobody"),
        ("r1,,5", "Nobody says whose"),
    ):
        path.write_text(f"{ASKED}{row}\n")
        assert told in command.refusal("reserve", "hold", path)
    assert "no reservation r9" in command.refusal("reserve", "release", "r9", "--customer", "acme")
