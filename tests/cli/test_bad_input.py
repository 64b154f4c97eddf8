"""Whatever a person types is answered in one line that says what to do, and never by a trace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.wire.one_line import CHARS_MAX, one_line
from tests.cli.command_line import CommandLine

LOG = ("--map", "time=at", "--map", "output=out", "--set", "customer=acme", "--set", "model=m")
KEY = "tlk_0123456789ab_" + "S" * 40


def one_error(command: CommandLine, *arguments: object, status: int = 1) -> str:
    done = command(*arguments, status=status)
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) <= CHARS_MAX + 1
    return done.stderr


@pytest.mark.parametrize("delimiter", ["\\t", "tab", "\t"])
def test_a_tab_can_be_named(command: CommandLine, tmp_path: Path, delimiter: str) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "log.tsv"
    path.write_text("at\tout\n2024-03-01T10:00:00Z\t5\n")
    done = command.json("backfill", path, *LOG, "--delimiter", delimiter)
    assert done["created"] == 1
    path.write_text("customer_id\tentity_id\tname\nx\tfactory\tX\n")
    assert command.json("import", "customers", path, "--delimiter", delimiter)["entered"] == 1


@pytest.mark.parametrize("delimiter", ["", "ab", "\n", '"', "\udcff", "\\n"])
def test_a_delimiter_that_cannot_part_cells_is_refused(
    command: CommandLine, tmp_path: Path, delimiter: str
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("at,out\n")
    for asked in (("backfill", path, *LOG), ("import", "customers", path), ("import", "fx", path)):
        said = one_error(command, *asked, "--delimiter", delimiter, status=2)
        assert "--delimiter" in said


def test_a_name_that_stands_twice_is_refused_in_every_file(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "file"
    price = ("--tariff", "t", "--time-column", "at", "--price-column", "p")
    loads = (
        ("backfill", path, *LOG),
        ("import", "customers", path),
        ("import", "fx", path),
        ("import", "rate-card", path),
        ("import", "tariff", path, *price),
    )
    for load in loads:
        path.write_text("at,out,p, at\n2024-03-01T10:00:00Z,5,1,2\n")
        assert "two columns 'at': columns 1 and 4" in one_error(command, *load)
        path.write_text('{"at": "2024-03-01T10:00:00Z", "out": 5, "p": 1, "at": "2"}\n')
        assert "'at' stands twice in one object" in one_error(command, *load)
        path.write_text('{"out": 5, "p": 1, "at": "2", "data": {"x": 1, "x": 2}}\n')
        assert "'x' stands twice in one object" in one_error(command, *load)
        if load[0] == "import":
            path.write_text('[{"at": "2", "p": 1, "p": 2}]')
            assert "'p' stands twice in one object" in one_error(command, *load)


def test_files_that_are_none_are_refused(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)) * 40)
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"")
    zeros = tmp_path / "zeros"
    zeros.write_bytes(b"\0" * 5_000)
    for load in (("backfill",), ("import", "customers"), ("import", "fx")):
        rest = LOG if load == ("backfill",) else ()
        for path in (binary, nothing, zeros):
            one_error(command, *load, path, *rest)
        for path in (tmp_path, tmp_path / "not there"):
            one_error(command, *load, path, *rest, status=2)


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "1999-12-31", "2200-01-02"])
def test_days_no_books_reach_are_refused(command: CommandLine, tmp_path: Path, day: str) -> None:
    command.enter_factory(tmp_path)
    for asked in (
        ("report", "usage", "--from", day, "--to", "2024-01-01"),
        ("report", "usage", "--from", "2024-01-01", "--to", f"{day}T00:00:00Z"),
        ("report", "usage", "--month", day[:7]),
        ("export", "usage", "--month", day[:7]),
        ("invoice", "preview", "nobody", "--at", day),
    ):
        if day == "2200-01-02" and "--month" in asked:
            continue
        assert "is outside 2000-01-01 to 2200-01-01" in one_error(command, *asked)


def test_a_time_may_be_said_as_messages_say_it(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    asked = ("report", "usage", "--to", "2024-03-02")
    ends = ("2024-03-01T10:00Z", "2024-03-01T10:00:00Z", "2024-03-01T11:00+01:00")
    since = [command.json(*asked, "--from", end)["since"] for end in ends]
    assert since == ["2024-03-01T10:00:00.000000Z"] * 3
    command(*asked, "--from", "2024-03-01T10Z", status=1)


def test_numbers_names_and_keys_that_are_none_are_refused(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    one_error(command, "up", "--port", 99_999, status=2)
    one_error(command, "demo", "--port", -1, status=2)
    one_error(command, "quarantine", "show", 10**30, status=2)
    one_error(command, "archive", "--days", 10**9, "--to", tmp_path, status=2)
    one_error(command, "invoice", "preview", "\udcff")
    one_error(command, "nonsense", status=2)
    one_error(command, "--nonsense", status=2)
    one_error(command, "report", "usage", "--month", "x" * 5_000)
    said = one_error(command, "keys", "revoke", KEY)
    assert KEY[4:10] not in said
    assert "S" * 5 not in said


def test_a_long_error_keeps_its_beginning_and_what_to_do() -> None:
    said = one_line(f"error: {'x ' * 4_000} Say it with --option.")
    assert len(said) <= CHARS_MAX
    assert said.startswith("error: x x")
    assert said.endswith("Say it with --option.")


def run(command: CommandLine, shell: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "TOKENLEDGER_WORKER_URL": command.database.worker_url,
        "TOKENLEDGER": f"{sys.executable} -m ledger.cli",
    }
    return subprocess.run(
        ["bash", "-c", shell], env=environment, capture_output=True, text=True, check=False
    )


def test_a_full_disk_and_a_reader_that_leaves_are_no_trace(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    full = run(command, "$TOKENLEDGER status > /dev/full")
    assert (full.returncode, full.stderr) == (
        1,
        "error: No space left on device: the output is not whole.\n",
    ) or full.stderr == "error: No space left on device.\n"
    left = run(command, "$TOKENLEDGER status --json | true; exit ${PIPESTATUS[0]}")
    assert "Traceback" not in left.stderr
    assert "error" not in left.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("TOKENLEDGER_PORT=99999", "The setting TOKENLEDGER_PORT is wrong"),
        ("TOKENLEDGER_CONFIG=/nowhere.toml", "TOKENLEDGER_CONFIG names no file: /nowhere.toml."),
        ("TOKENLEDGER_CONFIG=$BAD", "is not TOML"),
    ],
)
def test_settings_that_are_none_are_named(
    command: CommandLine, tmp_path: Path, setting: str, said: str
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("a = [")
    done = run(command, f"BAD={bad}; {setting} $TOKENLEDGER status")
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
