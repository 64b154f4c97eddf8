"""A file into rows: CSV, a JSON array or object, or NDJSON; gzip or plain, told by content."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.domain.errors import InvalidInputError
from ledger.wire.errors import shorten
from ledger.wire.strict_json import load_json

GZIP_MAGIC = b"\x1f\x8b"
BYTES_MAX = 512 * 1024 * 1024
# Signs that part cells, as people call them.
_DELIMITERS = {";": "semicolon", "\t": "tab", "|": "pipe", ",": "comma"}


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row and where it stands: the line of CSV and NDJSON, the place in an array, from 1."""

    line: int
    cells: Mapping[str, Any]
    texts: bool


def read_rows(path: Path, *, delimiter: str = ",") -> list[InputRow]:
    """All rows; InvalidInputError says what is wrong with the file, and in which line."""
    text = _decode(path, read_bytes(path))
    start = text.lstrip()[:1]
    if start == "[":
        return _json_array(path, text)
    if start == "{":
        whole = _json_object(path, text)
        return [whole] if whole else list(_json_lines(path, text))
    return list(_csv_rows(path, text, delimiter))


def read_bytes(path: Path) -> bytes:
    """What a file holds, unpacked where it is gzip."""
    try:
        raw = path.read_bytes()
    except IsADirectoryError:
        raise InvalidInputError(f"{path} is a directory.", "Name a file.") from None
    if not raw.startswith(GZIP_MAGIC):
        return raw
    try:
        with gzip.open(io.BytesIO(raw)) as packed:
            unpacked = packed.read(BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(
            f"{path} is a broken gzip file: {error}.", "Fetch or pack it again."
        ) from error
    if len(unpacked) > BYTES_MAX:
        raise InvalidInputError(
            f"{path} unpacks to more than {BYTES_MAX // 2**20} MiB.", "Split it into parts."
        )
    return unpacked


def check_columns(path: Path, there: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a file that lacks a column, naming those it has."""
    missing = [name for name in wanted if name not in there]
    if missing:
        raise InvalidInputError(
            f"{path.name} has no column {', '.join(missing)}.",
            f"It has {', '.join(there)}. Name one of these, and look at --delimiter.",
        )


def check_header(path: Path, header: Sequence[str]) -> None:
    """Refuse a header that gives two columns one name, of which nobody can tell which was meant,
    and one that nothing parts where another delimiter would."""
    if len(header) == 1 and (inside := [sign for sign in _DELIMITERS if sign in header[0]]):
        raise InvalidInputError(
            f"{path.name} has one column, {shorten(header[0])}.",
            f"Give --delimiter {_DELIMITERS[inside[0]]}.",
        )
    numbers: dict[str, int] = {}
    for at, name in enumerate(header, 1):
        if name and name in numbers:
            raise InvalidInputError(
                f"{path.name} has two columns {shorten(name)}: columns {numbers[name]} and {at}.",
                "Give each column a name of its own.",
            )
        numbers[name] = at


def _decode(path: Path, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidInputError(
            f"{path.name} line {line} is not UTF-8.", "Save the file as UTF-8."
        ) from error
    if not text.strip():
        raise InvalidInputError(f"{path.name} is empty.", "Name a file with rows.")
    return text


def _csv_rows(path: Path, text: str, delimiter: str) -> Iterator[InputRow]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(lines)]
        check_header(path, header)
        for cells in lines:
            # A comma after the last column, in the header as well, is no column.
            if not cells:
                continue
            if len(cells) != len(header):
                raise InvalidInputError(
                    f"{path.name} line {lines.line_num} has {len(cells)} cells, its header"
                    f" {len(header)}.",
                    "Look at --delimiter, or mend the line.",
                )
            row = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name}
            yield InputRow(lines.line_num, row, texts=True)
    except csv.Error as error:
        raise InvalidInputError(
            f"{path.name} line {lines.line_num} is not CSV: {error}.", "Mend the line."
        ) from error


def _json_object(path: Path, text: str) -> InputRow | None:
    """One object over several lines; lines of objects never parse as one value."""
    try:
        value = load_json(text, parse_float=str)
    except json.JSONDecodeError:
        return None
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path.name} is not JSON: {error}.", "Mend it.") from error
    return InputRow(1, value, texts=False) if isinstance(value, dict) else None


def _json_array(path: Path, text: str) -> list[InputRow]:
    try:
        # Fractions stay the text they are: nothing here passes through a float.
        values = load_json(text, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path.name} is not JSON: {error}.", "Mend it.") from error
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise InvalidInputError(
                f"Item {number} of {path.name} is no object.", "Send a list of objects."
            )
    return [InputRow(number, value, texts=False) for number, value in enumerate(values, 1)]


def _json_lines(path: Path, text: str) -> Iterator[InputRow]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = load_json(line, parse_float=str)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"{path.name} line {number} is not JSON: {error}.", "Put one object on each line."
            ) from error
        if not isinstance(value, dict):
            raise InvalidInputError(
                f"{path.name} line {number} is no object.", "Put one object on each line."
            )
        yield InputRow(number, value, texts=False)
