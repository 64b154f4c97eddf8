"""Statements of banks by the command line, as CAMT.053 and as CSV."""

from pathlib import Path

from tests.cli.command_line import CommandLine
from tests.support.statements import IBAN, entry, statement


def prepare(command: CommandLine, folder: Path) -> None:
    command.enter_factory(folder)
    said = f"payment_account={IBAN}"
    command("change", "entity", "factory", "--from", "2020-01-01", "--set", said)


def test_a_statement_in_either_form_is_taken_once(command: CommandLine, tmp_path: Path) -> None:
    prepare(command, tmp_path)
    camt = tmp_path / "statement.xml"
    camt.write_bytes(statement(entry("5.00", "hello", ref="R1", currency="EUR")))
    taken = command.json("payment", "import", camt, "--entity", "factory")
    assert (taken["taken"], taken["known"]) == (1, 0)
    booked = tmp_path / "statement.csv"
    booked.write_text("Ref;Datum;Betrag;Text\nR1;2023-12-05;5.00;hello\nR2;2023-12-06;-9;fee\n")
    columns = ("bank_reference=Ref", "booked_on=Datum", "amount=Betrag", "reference=Text")
    mapped = [part for column in columns for part in ("--map", column)]
    fixed = ("--set", f"account={IBAN}", "--set", "currency=EUR", "--delimiter", "semicolon")
    said = command("payment", "import", booked, "--entity", "factory", *mapped, *fixed).stdout
    assert "1 entry taken, 1 known before" in said
    assert "Waiting for a person" in said
    first, fee = command.items("list", "bank-entries")
    done = command("payment", "match", first["entry_id"], "--customer", "acme").stdout
    assert "Recorded as R1 of acme." in done
    command("payment", "dismiss", fee["entry_id"], "--reason", "a fee")
    states = [row["state"] for row in command.items("list", "bank-entries")]
    assert states == ["paid", "dismissed"]
    assert "Nobody waits" in command.refusal("payment", "dismiss", fee["entry_id"], "--reason", "x")


def test_files_that_are_no_statement_of_ours_are_refused(
    command: CommandLine, tmp_path: Path
) -> None:
    prepare(command, tmp_path)
    bad = {
        "foreign.xml": (
            statement(entry("1.00", "x", ref="R1"), account="DE89370400440532013000"),
            "none of factory's",
        ),
        "dtd.xml": (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "without a document type"),
        "cut.xml": (statement(entry("1.00", "x", ref="R1"))[:-40], "can be read"),
        "rows.csv": (b"amount\n1\n", "account"),
    }
    for name, (content, said) in bad.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert said in command.refusal("payment", "import", path, "--entity", "factory"), name
    assert command.items("list", "bank-entries") == []
