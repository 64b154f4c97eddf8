"""A file of requests, however large, into the cells a backfill asks for, line by line.

CSV, NDJSON or a JSON array, gzip or plain, told apart by content; nothing is held in memory but a
line, or an array.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from ledger.commands.data.rows import GZIP_MAGIC, check_columns, check_header, read_rows
from ledger.domain.errors import InvalidInputError
from ledger.wire.strict_json import load_json

BLOCK = 1024 * 1024
Cells = tuple[int, list[Any]]


@contextmanager
def open_usage_file(
    path: Path, columns: Sequence[str], *, delimiter: str = ","
) -> Iterator[Iterator[Cells]]:
    """(line number, cells of `columns`) of every row; a cell the row lacks is None or "".

    Lines count from 1, the header of CSV included, and so do the items of an array.
    InvalidInputError names wrong columns, a broken gzip, or the line that is not what the file
    began as.
    """
    with _open_text(path) as text:
        first = _first_char(path, text)
        if first == "{":
            yield _explained(path, _json_rows(path, _json_lines(path, text), columns))
        elif first == "[":
            items = ((row.line, row.cells) for row in read_rows(path))
            yield _explained(path, _json_rows(path, items, columns))
        else:
            yield _explained(path, _csv_rows(path, text, columns, delimiter))


def columns_of(path: Path, *, delimiter: str = ",") -> list[str]:
    """The names that its header has, or its first object; InvalidInputError where it has none."""
    with _open_text(path) as text:
        first = _first_char(path, text)
        if first == "{":
            names: Iterator[list[str]] = (list(value) for _, value in _json_lines(path, text))
        elif first == "[":
            names = (list(row.cells) for row in read_rows(path))
        else:
            names = _csv_lines(path, text, delimiter)
        header = [name.strip() for name in next(_explained(path, names), [])]
        check_header(path, header)
        return header


def digest_of(path: Path) -> bytes:
    """SHA-256 of what a file holds, unpacked where it is gzip; InvalidInputError where it broke."""
    digest = sha256()

    def blocks() -> Iterator[bytes]:
        with _open_bytes(path) as raw:
            while block := raw.read(BLOCK):
                yield block

    for block in _explained(path, blocks()):
        digest.update(block)
    return digest.digest()


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    with _open_bytes(path) as raw:
        yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def _open_bytes(path: Path) -> BinaryIO:
    with path.open("rb") as probe:
        packed = probe.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb")


def _first_char(path: Path, text: TextIO) -> str:
    # Peeking must not move a stream that cannot go back: gzip streams can, to their start.
    def read() -> Iterator[str]:
        yield text.read(1024)

    begun: str = next(_explained(path, read()))
    text.seek(0)
    if not begun:
        raise InvalidInputError(f"{path.name} is empty.", "Name a file with rows.")
    return begun.lstrip()[:1]


def _explained(path: Path, rows: Iterator[object]) -> Iterator[Any]:
    try:
        yield from rows
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidInputError(
            f"{path.name} is a broken gzip file: {error}.",
            "What came before the break is recorded; mend the file and run it again.",
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path.name} is not UTF-8: {error}.", "Convert it.") from error


def _csv_rows(path: Path, text: TextIO, columns: Sequence[str], delimiter: str) -> Iterator[Cells]:
    lines = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(lines)]
        check_header(path, header)
        check_columns(path, header, columns)
        indexes = [header.index(name) for name in columns]
        width, line = len(header), lines.line_num + 1
        for cells in lines:
            if len(cells) == width:
                yield line, [cells[index].strip() for index in indexes]
            elif cells:
                raise InvalidInputError(
                    f"{path.name} line {line} has {len(cells)} cells, its header {width}.",
                    "What came before it is recorded; mend the line and run it again.",
                )
            line = lines.line_num + 1
    except csv.Error as error:
        raise InvalidInputError(
            f"{path.name} line {lines.line_num} is not CSV: {error}.",
            "What came before it is recorded; mend the line and run it again.",
        ) from error


def _csv_lines(path: Path, text: TextIO, delimiter: str) -> Iterator[list[str]]:
    lines = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        yield from lines
    except csv.Error as error:
        raise InvalidInputError(
            f"{path.name} line {lines.line_num} is not CSV: {error}.", "Mend the line."
        ) from error


def _json_rows(
    path: Path, objects: Iterable[tuple[int, Mapping[str, object]]], columns: Sequence[str]
) -> Iterator[Cells]:
    checked = False
    paths = [name.split(".") for name in columns]
    for number, value in objects:
        if not checked:
            check_columns(path, list(value), [keys[0] for keys in paths])
            checked = True
        yield number, [_at(value, keys) for keys in paths]


def _json_lines(path: Path, text: TextIO) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text, 1):
        if line.strip():
            yield number, _json_object(path, number, line)


def _json_object(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        # Fractions stay the text they are: nothing here passes through a float.
        value = load_json(line, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{path.name} line {number} is not JSON: {error}.",
            "What came before it is recorded; put one object on each line.",
        ) from error
    if not isinstance(value, dict):
        raise InvalidInputError(
            f"{path.name} line {number} is no object.",
            "What came before it is recorded; put one object on each line.",
        )
    return value


def _at(value: object, keys: Sequence[str]) -> object:
    for name in keys:
        value = value.get(name) if isinstance(value, dict) else None
    return value
