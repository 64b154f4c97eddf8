"""Months close and open by the command line."""

from pathlib import Path

from tests.cli.command_line import CommandLine
from tests.cli.test_report_coverage import in_books
from tests.cli.test_trace import two_events


def test_a_month_closes_is_shown_and_opens(command: CommandLine, tmp_path: Path) -> None:
    in_books(command, two_events)
    (entity,) = command.items("list", "entities")
    name = entity["entity_id"]
    months = command.json("close", "status", name)
    month = months["next"]
    shown = command("close", "status", name, "--wide").stdout
    assert f"Before {month} closes" in shown
    todo = [each["name"] for each in months["matters"] if each["count"]]
    ask = ("close", "entity", name, "--month", month)
    if todo:
        assert todo[0] in command.refusal(*ask)
    accepted = [word for each in todo for word in ("--accept", each)]
    said = command(*ask, *accepted, "--reason", "a test").stdout
    assert said.startswith(f"{month} of {name} is closed: ")
    assert "closed already" in command.refusal(*ask)
    since = f"{month}-01T00:00:00Z"
    alias = tmp_path / "aliases.csv"
    alias.write_text(f"alias,customer_id,valid_from\ncrm-7,acme,{since}\n")
    command("import", "aliases", alias, "--reason", "a test")
    for write in (
        ("end", "alias", "crm-7", "--from", since),
        ("change", "customer", "acme", "--set", "payment_days=3", "--from", f"{month}-01"),
    ):
        assert "Say why (--reason" in command.refusal(*write)
        command(*write, "--reason", "the contract says so")
    opened = ("close", "reopen", name, "--month", month, "--reason", "a late reading")
    assert command(*opened).stdout == f"{month} of {name} is open.\n"
    states = [row["state"] for row in command.items("list", "closes")]
    assert states == ["closed", "open"]
