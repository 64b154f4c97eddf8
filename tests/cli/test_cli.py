"""The command line: a table of commands, one line for each error, JSON for programs."""

from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ledger.cli import COMMANDS, cli
from tests.cli.command_line import CommandLine


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_can_be_called(name: str) -> None:
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"ledger.commands.{module}"), attribute)
    assert isinstance(found, click.Command)
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    # What a command of a group does is never cut off.
    assert "..." not in result.output.partition("Commands:")[2]


def test_commands_folder_holds_nothing_that_the_table_does_not_reach() -> None:
    folder = Path(str(import_module("ledger.commands").__path__[0]))
    named = {target.partition(":")[0] for target, _ in COMMANDS.values()}
    shared = {
        *(
            "failures",
            "files",
            "groups",
            "options",
            "data.imports",
            "data.import_fx",
            "data.import_tariff",
        ),
        *("data.import_urdb", "data.urdb_file", "data.import_prices", "data.price_table_file"),
        *("data.presets.aider", "data.presets.mooncake", "data.presets.preset"),
        *("data.provider_costs", "data.import_grid", "data.series_options", "run.invoice_run"),
        *("data.rows", "data.show", "data.tariff_file", "data.usage_file", "run.periods"),
        *("serve.background", "serve.database", "serve.metrics_address", "serve.report_process"),
        *("serve.intake_process", "serve.process_beside", "serve.supervise", "review.grouped"),
        "serve.worker_processes",
        *("review.receivables", "data.bank_rows", "data.preview"),
    }
    files = (path.relative_to(folder) for path in folder.rglob("*.py"))
    held = {".".join(path.with_suffix("").parts) for path in files if path.stem != "__init__"}
    assert held == named | shared


def test_unknown_command_and_missing_option_are_usage_errors() -> None:
    assert CliRunner().invoke(cli, ["nothing"]).exit_code == 2
    assert CliRunner().invoke(cli, ["keys", "create"]).exit_code == 2


def test_directory_without_a_database_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["status", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: There is no database in {tmp_path}. Start one with")
    assert result.stderr.count("\n") == 1


def test_server_that_does_not_answer_is_one_line() -> None:
    url = {"TOKENLEDGER_WORKER_URL": "postgresql://nobody@127.0.0.1:1/none"}
    result = CliRunner().invoke(cli, ["keys", "list"], env=url)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: The database does not answer")


def test_wrong_setting_is_named_with_its_variable() -> None:
    result = CliRunner().invoke(cli, ["status"], env={"TOKENLEDGER_PORT": "high"})
    assert result.exit_code == 1
    assert "TOKENLEDGER_PORT is wrong" in result.stderr


def test_key_is_shown_once_listed_without_its_secret_and_revoked(command: CommandLine) -> None:
    made = command("keys", "create", "--role", "ingest", "--source", "/gw", "--name", "gateway")
    text = made.stdout.strip()
    assert text.startswith("tlk_")
    (listed,) = command.items("keys", "list")
    assert listed["role"] == "ingest"
    assert listed["sources"] == ["/gw"]
    assert text.split("_", 2)[2] not in str(listed)
    command("keys", "revoke", listed["key_id"])
    (listed,) = command.items("keys", "list")
    assert listed["revoked_at"] is not None
    assert "no API key zzz" in command.refusal("keys", "revoke", "zzz")
    assert "name the sources" in command.refusal("keys", "create", "--role", "ingest")


def test_migrating_a_migrated_database_changes_nothing(command: CommandLine) -> None:
    assert "newest schema" in command("migrate").stdout


def test_empty_ledger_says_that_nothing_was_ever_sent(command: CommandLine) -> None:
    assert "nothing here says that usage is zero" in command("status").stdout
    state = command.json("status")
    assert state["sources"] == []
    assert state["fates"]["received"] == 0


def test_report_needs_an_entity_and_a_period_that_exists(
    command: CommandLine, tmp_path: Path
) -> None:
    assert "There is no entity." in command.refusal("report", "usage")
    command.enter_factory(tmp_path)
    assert command.json("report", "usage", "--month", "2024-10")["items"] == []
    month = command.json("report", "usage", "--month", "2024-10")
    assert month["since"] == "2024-09-30T22:00:00.000000Z"
    assert month["until"] == "2024-10-31T23:00:00.000000Z"
    assert "is no month" in command.refusal("report", "usage", "--month", "24-13")
    assert "no entity nobody" in command.refusal("report", "usage", "--entity", "nobody")
    report = command("report", "margin")
    assert "Cost and margin are unknown. " in report.stderr
    assert "missing are its assets" in report.stderr
