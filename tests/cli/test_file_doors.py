"""Every command that reads a file, and the worst files: one line says what is wrong with each."""

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest

from ledger.flows.reference.resources import RESOURCES
from ledger.wire.one_line import CHARS_MAX
from tests.cli.command_line import FACTORY, CommandLine
from tests.support.disks import small_disk

LOG = ("--map", "time=at", "--map", "output=out", "--set", "customer=acme", "--set", "model=m")
WORDS = [each.file_word for each in RESOURCES if each.file_rows is not None]
DOORS: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("backfill",), LOG),
    *((("import", word), ()) for word in (*WORDS, "entity-changes", "customer-changes", "fx")),
    (
        ("import", "grid"),
        *(
            (
                *("--facility", "site", "--kind", "water", "--source", "s", "--time-column", "at"),
                *("--factor-column", "p"),
            ),
        ),
    ),
    (
        ("import", "tariff"),
        ("--tariff", "t", "--time-column", "at", "--price-column", "p", "--zone", "UTC"),
    ),
]
BAD: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\n",
    "zeros": b"\0" * 5_000,
    "binary": bytes(range(256)) * 40,
    "latin-1": "at,out\nGröße,1\n".encode("latin-1"),
    "utf-16": "at,out\n2024-03-01T10:00:00Z,5\n".encode("utf-16"),
    "utf-32": "at,out\n".encode("utf-32"),
    "half a gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "a quote that stays open": b'at,out\n"2024,1\n',
    "json that ends": b'[{"at": "2024-03-01T10:00:00Z"',
    "a list of lists": b"[[1]]",
    "a number": b"17",
    "deep": b"[" * 100_000,
    "a header alone": b"at,out,p\n",
}
# Names of ours that would be a path, a header, an option, or another's name to look at.
EVIL = {
    "path": "../../evil",
    "escaped dot": "%2e%2e%2f",
    "header": "a\r\nSet-Cookie: x",
    "nul": "a\0b",
    "right to left": "a\u202egnp.exe",
    "long": "a" * 10_000,
    "emoji": "🙂",
    "dash": "--help",
    "blank": " ",
    "full width": "ａ",
    "quote": "a\"b';--",
}


def said(command: CommandLine, *arguments: object, status: int = 1) -> str:
    """The one line of a refusal."""
    done = command(*arguments, status=status)
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr), done.stderr
    assert done.stderr[:-1].isprintable()
    assert len(done.stderr) <= CHARS_MAX + 1
    return done.stderr


def test_a_file_that_is_none_is_refused_at_every_door(command: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for kind, body in BAD.items():
        path.write_bytes(body)
        for door, rest in DOORS:
            if kind != "a header alone" or door != ("backfill",):
                assert "file" in said(command, *door, path, *rest), (kind, door)


# Nothing at all is settings at their defaults.
NOT_TOML = {kind: body for kind, body in BAD.items() if kind not in {"empty", "blank"}}


@pytest.mark.parametrize("kind", NOT_TOML)
def test_settings_that_are_no_toml_are_refused(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(NOT_TOML[kind])
    for door in ("collect", "probe"):
        assert "settings.toml" in said(command, door, "--config", path)
    monkeypatch.setenv("TOKENLEDGER_CONFIG", str(path))
    assert "TOKENLEDGER_" in said(command, "status")


def test_settings_that_are_no_file_are_refused(command: CommandLine, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path, tmp_path / "absent", loop):
        for door in ("collect", "probe"):
            done = command(door, "--config", path, status=None)
            assert done.exit_code in {1, 2}
            assert re.fullmatch(r"error: [^\n]+\n", done.stderr), done.stderr


def test_a_backup_that_is_none_is_refused(command: CommandLine, tmp_path: Path) -> None:
    for kind, body in BAD.items():
        (tmp_path / "backup.json").write_bytes(body)
        assert "backup.json" in said(command, "restore", tmp_path), kind
    (tmp_path / "backup.json").unlink()
    assert "not a whole backup" in said(command, "restore", tmp_path)
    assert "not a whole backup" in said(command, "restore", tmp_path / "absent")


def test_what_is_no_file_is_refused_at_every_door(command: CommandLine, tmp_path: Path) -> None:
    loop, dangling = tmp_path / "loop", tmp_path / "dangling"
    loop.symlink_to(loop)
    dangling.symlink_to(tmp_path / "nowhere")
    closed = tmp_path / "closed"
    closed.write_text("at,out\n")
    closed.chmod(0)
    paths = [tmp_path, tmp_path / "absent", loop, dangling, closed / "below"]
    paths += [closed] if os.geteuid() else []
    for door, rest in DOORS:
        for path in paths:
            said(command, *door, path, *rest, status=2)


def test_a_mark_of_byte_order_is_no_part_of_the_first_name(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "file"
    for number, text in enumerate(("customer_id,entity_id,name\r\nb{},factory,B\r\n",)):
        path.write_bytes(b"\xef\xbb\xbf" + text.format(number).encode())
        assert command.json("import", "customers", path)["entered"] == 1
    row = {"customer_id": "c", "entity_id": "factory", "name": "C"}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([row]).encode())
    assert command.json("import", "customers", path)["entered"] == 1
    path.write_bytes(b"\xef\xbb\xbfat,out\n2024-03-01T10:00:00Z,5\n")
    assert command.json("backfill", path, *LOG)["created"] == 1


def test_a_name_that_is_none_is_refused_in_files_and_on_the_command_line(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    for name in EVIL.values():
        refuse(command, tmp_path / "file", name)
    assert [row["customer_id"] for row in command.items("list", "customers")] == ["acme"]
    assert not list(tmp_path.parent.glob("*evil*"))


def refuse(command: CommandLine, path: Path, name: str) -> None:
    """Give a name that is none to files and to commands: each refuses it."""
    header, row = (line.split(",") for line in FACTORY["customers"].splitlines())
    text = io.StringIO()
    csv.writer(text).writerows([header, [name, *row[1:]]])
    for body in (text.getvalue(), json.dumps(dict(zip(header, [name, *row[1:]], strict=True)))):
        path.write_bytes(body.encode())
        said(command, "import", "customers", path)
    price = "at,p\n2024-03-01T10:00:00Z,5\n"
    path.write_text(price)
    columns = ("--time-column", "at", "--price-column", "p", "--zone", "UTC")
    new = ("--facility", "site", "--currency", "EUR")
    said(command, "import", "tariff", path, "--tariff", name, *columns, *new)
    said(command, "show", "customer", "--", name)
    said(command, "change", "customer", "--from", "2024-01-01", "--set", "name=X", "--", name)
    said(command, "keys", "create", "--role", "customer", "--customer-id", name)
    said(command, "invoice", "preview", "--", name)
    said(command, "invoice", "pdf", "--", name)
    said(command, "report", "usage", "--entity", name)


def test_books_are_not_written_to_a_full_disk_by_half(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    taken = tmp_path / "taken"
    taken.write_text("")
    export = ("export", "usage", "--month", "2024-10", "--output")
    with small_disk(tmp_path / "small") as disk:
        disk.fill()
        assert re.search(
            r"No space left on device|File too large", said(command, *export, disk.folder)
        )
        assert not list(disk.folder.glob("usage*"))
    assert "is a file" in said(command, *export, taken, status=2)
    said(command, *export, "/proc/nowhere")
