"""columnar.v1, reading: the bytes of a batch as bounds-checked columns, and as events again.

Magic TLC1, a little-endian uint32 header length, a JSON header, then for each column a presence
bitmap (when `present`) and count * width bytes, without padding.
"""

import json
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.wire.batch import MAX_BATCH_EVENTS, BatchHeader, ordinal_id
from ledger.wire.errors import ColumnarError, LineError, shorten
from ledger.wire.ndjson import refuse_floats
from ledger.wire.rfc3339 import format_rfc3339
from ledger.wire.strict_json import load_json

MAGIC = b"TLC1"
PREFIX_BYTES = 8
PATH_PARTS_MAX = 32
TYPECODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
KINDS = ("int", "time", "bool", "text", "json")
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TIME_MIN = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
TIME_MAX = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND


@dataclass(frozen=True, slots=True)
class Column:
    """One field of every event: raw unsigned values of `width` bytes, added to `base`."""

    path: str
    kind: str
    width: int
    base: int
    values: tuple[str, ...]
    present: memoryview | None
    data: memoryview


@dataclass(frozen=True, slots=True)
class ColumnarBatch:
    """The columns of a body; the ids are places when there is no id column."""

    count: int
    ids_are_ordinals: bool
    columns: tuple[Column, ...]


def plain_highest(data: memoryview, width: int) -> int:
    """The largest of a column's values as they are stored."""
    return max(raw_values(data, width=width, count=len(data) // width))


def read_columns(
    body: bytes, *, highest: Callable[[memoryview, int], int] = plain_highest
) -> ColumnarBatch:
    """Read a body without copying its buffers; any defect raises ColumnarError.

    `highest` finds the largest value of a column; whoever has an array library has a faster one.
    """
    head, at = _header(body)
    count, ids, raw = head.get("count"), head.get("ids"), head.get("columns")
    if type(count) is not int or not 1 <= count <= MAX_BATCH_EVENTS:
        raise ColumnarError(f"count: found {shorten(count)}; send 1 to {MAX_BATCH_EVENTS}")
    if ids not in ("place", "column") or not isinstance(raw, list):
        raise ColumnarError("header: ids or columns is wrong; send place or column, and a list")
    view, columns = memoryview(body), list[Column]()
    for item in raw:
        column, at = _column(item, view, at=at, count=count)
        _check_range(column, count, highest)
        columns.append(column)
    if at != len(body):
        raise ColumnarError(f"body: {len(body) - at} bytes after the last column; remove them")
    _check_paths([column.path for column in columns], ids == "place")
    return ColumnarBatch(count, ids == "place", tuple(columns))


def event_at(batch: ColumnarBatch, ordinal: int, header: BatchHeader | None) -> dict[str, object]:
    """One event of a batch as an object; an id that is its place needs the batch header."""
    event: dict[str, Any] = {}
    if batch.ids_are_ordinals:
        if header is None:
            raise ColumnarError("ids: places without batch headers; send the tl-* headers")
        event["id"] = ordinal_id(epoch=header.epoch, sequence=header.sequence, ordinal=ordinal)
    for column in batch.columns:
        bits = column.present
        if bits is not None and not bits[ordinal >> 3] >> (ordinal & 7) & 1:
            continue
        at = ordinal * column.width
        target, (*parents, leaf) = event, column.path.split(".")
        for name in parents:
            target = target.setdefault(name, {})
        target[leaf] = _value(column, int.from_bytes(column.data[at : at + column.width], "little"))
    return event


def raw_values(data: memoryview, *, width: int, count: int) -> "array[int] | list[int]":
    """The unsigned raw values of a column, zeros for a constant one."""
    if not width:
        return [0] * count
    values = array(TYPECODES[width])
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _value(column: Column, raw: int) -> object:
    if column.kind == "text":
        return column.values[raw]
    if column.kind == "json":
        return json.loads(column.values[raw])
    number = column.base + raw
    if column.kind == "bool":
        return bool(number)
    return number if column.kind == "int" else format_rfc3339(EPOCH + number * MICROSECOND)


def _header(body: bytes) -> tuple[dict[str, Any], int]:
    if body[:4] != MAGIC or len(body) < PREFIX_BYTES:
        raise ColumnarError(f"body: starts with {shorten(body[:8])}; send a columnar.v1 body")
    end = PREFIX_BYTES + int.from_bytes(body[4:8], "little")
    if end > len(body):
        raise ColumnarError(f"header: ends at byte {end} of {len(body)}; send the whole body")
    head = _parsed(body[PREFIX_BYTES:end], "header")
    if not isinstance(head, dict):
        raise ColumnarError("header: is no JSON object; send one")
    return head, end


def _parsed(said: bytes | str, where: str) -> object:
    floats = list[str]()
    try:
        text = said.decode() if isinstance(said, bytes) else said
        value = load_json(text, parse_float=floats.append)
        if floats:
            # Again, to say where; there seldom is one.
            refuse_floats(load_json(text), where)
    except (ValueError, RecursionError, LineError) as error:
        raise ColumnarError(f"{where}: {error}; send JSON without floats") from error
    return value


def _column(item: object, view: memoryview, *, at: int, count: int) -> tuple[Column, int]:
    if not isinstance(item, dict):
        raise ColumnarError(f"columns: found {shorten(item)}; send an object for each column")
    path, kind, width = item.get("path"), item.get("kind"), item.get("width")
    base, present, values = item.get("base", 0), item.get("present"), item.get("values", [])
    where = f"column {shorten(path)}"
    typed = type(width) is int and type(base) is int
    if (
        not isinstance(path, str)
        or not typed
        or type(present) is not bool
        or kind not in KINDS
        or not isinstance(values, list)
    ):
        raise ColumnarError(f"{where}: path, kind, width, base, values or present is wrong; fix it")
    if width not in (0, *TYPECODES):
        raise ColumnarError(f"{where}: width {shorten(width)}; send 0, 1, 2, 4 or 8")
    start = at + ((count + 7) // 8 if present else 0)
    end = start + count * width
    if end > len(view):
        raise ColumnarError(f"{where}: ends at byte {end} of {len(view)}; send the whole body")
    _check_values(values, kind, where)
    bits = view[at:start] if present else None
    column = Column(path, kind, width, base, tuple(values), bits, view[start:end])
    return column, end


def _check_values(values: list[Any], kind: str, where: str) -> None:
    if (kind in ("text", "json")) != bool(values):
        raise ColumnarError(f"{where}: {len(values)} values for kind {kind}; send a dictionary")
    # All at once, because a dictionary may have thousands.
    if not set(map(type, values)) <= {str}:
        value = next(value for value in values if not isinstance(value, str))
        raise ColumnarError(f"{where}: value {shorten(value)} is no text; send text")
    text = "".join(values)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ColumnarError(f"{where}: a lone surrogate; send valid Unicode")
    for value in values if kind == "json" else ():
        _parsed(value, where)


def _check_range(column: Column, count: int, highest: Callable[[memoryview, int], int]) -> None:
    where = f"column {shorten(column.path)}"
    low, high = {
        "int": (INT64_MIN, INT64_MAX),
        "time": (TIME_MIN, TIME_MAX),
        "bool": (0, 1),
    }.get(column.kind, (0, len(column.values) - 1))
    top = highest(column.data, column.width) if column.width else 0
    if column.base < low or column.base + top > high or (column.values and column.base):
        raise ColumnarError(f"{where}: values beyond {low}..{high}; send values in range")
    if column.present is not None and count % 8 and column.present[-1] >> (count % 8):
        raise ColumnarError(f"{where}: presence bits beyond event {count}; clear them")


def _check_paths(paths: list[str], ordinals: bool) -> None:
    seen = set(paths)
    if len(seen) != len(paths) or (ordinals and "id" in seen):
        raise ColumnarError("columns: a path stands twice; send each path once")
    for path in paths:
        parts = path.split(".")
        if "" in parts or len(parts) > PATH_PARTS_MAX or not path.isprintable():
            raise ColumnarError(f"column {shorten(path)}: no valid path; send dotted names")
        if any(".".join(parts[:end]) in seen for end in range(1, len(parts))):
            raise ColumnarError(f"column {shorten(path)}: a prefix is a column too; send one")
