"""Disputes, the statement of one line, and a logo, by the command line."""

from pathlib import Path

from tests.cli.command_line import CommandLine
from tests.cli.test_report_coverage import in_books
from tests.cli.test_trace import two_events
from tests.wire.test_logo import png, svg


def test_a_dispute_is_opened_shown_and_resolved(command: CommandLine) -> None:
    in_books(command, two_events)
    number = command.items("invoice", "list")[0]["number"]
    said = command("dispute", "open", number, "--line", 1, "--reason", "a test of ours").stdout
    assert said == f"Line 1 of invoice {number} is disputed: dispute 1.\n"
    (row,) = command.items("list", "disputes")
    assert (row["invoice"], row["line_no"], row["outcome"]) == (number, 1, None)
    opened = ("dispute", "open", number, "--line", 1, "--reason", "again")
    assert "Line 1 is disputed already" in command.refusal(*opened)
    ended = ("dispute", "resolve", 1, "--outcome", "withdrawn", "--reason", "they found it")
    assert command(*ended).stdout == "Dispute 1 is withdrawn.\n"
    assert "was withdrawn before" in command.refusal(*ended)
    (row,) = command.items("list", "disputes")
    assert (row["outcome"], row["resolution"]) == ("withdrawn", "they found it")
    assert "no dispute 7" in command.refusal("dispute", "resolve", 7, *ended[3:])


def test_the_statement_of_a_line_is_its_rows_of_the_whole(
    command: CommandLine, tmp_path: Path
) -> None:
    in_books(command, two_events)
    number = command.items("invoice", "list")[0]["number"]
    files = {line: tmp_path / f"{line}.csv" for line in ("all", "1", "2")}
    for line, path in files.items():
        only = () if line == "all" else ("--line", line)
        command("trace", "statement", number, *only, "--output", path)
    head, *rows = files["all"].read_text().splitlines()
    parts = [files[line].read_text().splitlines() for line in ("1", "2")]
    assert [part[0] for part in parts] == [head] * 2
    assert [row for part in parts for row in part[1:]] == rows
    refused = command.refusal("trace", "statement", number, "--line", 9)
    assert "has no line 9" in refused


def test_a_logo_is_given_by_a_file_or_refused(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "logo"
    for content in (png(), svg()):
        path.write_bytes(content)
        assert command("logo", path).stdout == "factory has this logo from now on.\n"
    for content, told in (
        *((b"", "is empty"), (b"GIF89a", "The logo is refused")),
        *((svg("<script/>"), "The logo is refused"), (png()[:40], "The logo is refused")),
    ):
        path.write_bytes(content)
        assert told in command.refusal("logo", path)
    assert command("logo", "--remove").stdout == "factory has no logo from now on.\n"
