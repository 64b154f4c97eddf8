"""Letters about what is overdue, by the command line: the policy from a file, and the letter."""

from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine


def policy(folder: Path, days: str) -> Path:
    path = folder / "dunning.csv"
    path.write_text(f"entity_id,reminder_days,valid_from\nfactory,{days},2020-01-01T00:00:00Z\n")
    return path


def test_a_policy_comes_from_a_file_and_a_run_without_debts_writes_nothing(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    assert "factory has said nothing of when" in command.refusal("dunning", "run")
    command("import", "dunning-policies", policy(tmp_path, "7;14;30"))
    (entered,) = command.items("list", "dunning-policies")
    assert entered["reminder_days"] == [7, 14, 30]
    done = command.json("dunning", "run")
    assert (done["letters"], done["refused"]) == ([], [])
    assert "no letter 1" in command.refusal("dunning", "pdf", 1)


def test_lists_of_whole_numbers_come_from_csv_whatever_they_are_of(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "budgets.csv"
    head = "budget_id,customer_id,period,unit,amount,alert_percents,valid_from"
    path.write_text(f"{head}\ntight,acme,day,tokens,5,50;90,2020-01-01T00:00:00Z\n")
    command("import", "budgets", path)
    (budget,) = command.items("list", "budgets")
    assert budget["alert_percents"] == [50, 90]


@pytest.mark.parametrize("days", ["14;7", "0", "7;7", "-1", "x", "5000"])
def test_a_policy_of_other_days_is_refused(command: CommandLine, tmp_path: Path, days: str) -> None:
    command.enter_factory(tmp_path)
    said = command.refusal("import", "dunning-policies", policy(tmp_path, days))
    assert "reminder_days" in said
