"""`tokenledger backup` and `restore`, as an operator runs them, and as README says."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.cli import COMMANDS, cli
from tests.cli.command_line import CommandLine

ROOT = Path(__file__).parents[2]


def local(*arguments: object, status: int = 0) -> Result:
    """A command that has no URL of a database."""
    nothing = {f"TOKENLEDGER_{name}_URL": None for name in ("OWNER", "WORKER", "API")}
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], env=nothing)
    assert result.exit_code == status, result.output
    return result


@pytest.mark.slow
def test_books_come_back_as_an_embedded_database(
    command: CommandLine, tmp_path: Path, server_dir: Path
) -> None:
    command.enter_factory(tmp_path)
    told = command.json("backup", "--to", tmp_path / "backup")
    assert (told["rows"]["customer"], told["bytes"] > 0) == (1, True)
    said = local("restore", tmp_path / "backup", "--data-dir", server_dir).stdout
    assert re.match(r"[\d,]+ rows of \d+ tables are back\.\n", said)
    check = json.loads(local("check", "--json", "--data-dir", server_dir).stdout)
    assert check["differing"] == 0
    refused = local("restore", tmp_path / "backup", "--data-dir", server_dir, status=1)
    assert refused.stderr.startswith("error: The database is not empty")
    assert refused.stderr.count("\n") == 1


def test_a_backup_holds_no_secret(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_KAFKA_PASSWORD", "s3cret")
    monkeypatch.setenv("TOKENLEDGER_QUARANTINE_DAYS", "17")
    command("backup", "--to", tmp_path / "backup")
    text = (tmp_path / "backup" / "settings.json").read_text()
    kept = json.loads(text)
    assert kept["settings"]["quarantine_days"] == 17
    assert kept["secrets_not_kept"] == ["owner_url", "worker_url", "api_url", "kafka_password"]
    assert "s3cret" not in text
    assert "postgresql://" not in text


def test_what_is_no_backup_is_refused_in_one_line(command: CommandLine, tmp_path: Path) -> None:
    assert "is not a whole backup" in command.refusal("restore", tmp_path)
    (tmp_path / "backup.json").write_text("{}")
    assert "cannot be read" in command.refusal("restore", tmp_path)
    (tmp_path / "file").write_text("")
    assert command("backup", "--to", tmp_path / "file", status=2).stderr.count("error:") == 1
    assert "is not empty" in command.refusal("backup", "--to", tmp_path)


def test_the_runbook_has_ten_lines_and_names_commands_that_exist() -> None:
    section = (ROOT / "README.md").read_text().split("## Back up and restore\n", 1)[1]
    section = section.split("\n## ", 1)[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.S)
    lines = block.strip().splitlines()
    assert len(lines) <= 10
    named = {name for line in lines for name in re.findall(r"^tokenledger (\w+)", line)}
    assert {"backup", "restore", "check"} <= named <= set(COMMANDS)
