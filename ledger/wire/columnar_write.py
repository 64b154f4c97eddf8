"""columnar.v1, writing: events to columns of the smallest width that holds their values."""

import json
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from ledger.wire.batch import MAX_BATCH_EVENTS, BatchHeader, ordinal_id
from ledger.wire.columnar import (
    EPOCH,
    INT64_MAX,
    INT64_MIN,
    MAGIC,
    MICROSECOND,
    PATH_PARTS_MAX,
    TYPECODES,
)
from ledger.wire.errors import ColumnarError, Rfc3339Error, shorten
from ledger.wire.ndjson import EventDict, refuse_floats
from ledger.wire.rfc3339 import parse_rfc3339
from ledger.wire.schema import time_paths

TIME_PATHS = time_paths()
Cells = dict[str, dict[int, Any]]


def encode_columnar(events: Sequence[EventDict], header: BatchHeader | None) -> bytes:
    """The events as one columnar.v1 body; ids that are the header's places are left out."""
    if not 1 <= len(events) <= MAX_BATCH_EVENTS:
        raise ColumnarError(f"events: found {len(events)}; send 1 to {MAX_BATCH_EVENTS}")
    for event in events:
        refuse_floats(event, "event")
    cells = _cells(events)
    are_ordinal = _are_ordinals(cells.get("id", {}), len(events), header)
    if are_ordinal:
        del cells["id"]
    columns = [_column(path, cells_of, len(events)) for path, cells_of in cells.items()]
    ids = "place" if are_ordinal else "column"
    head = {"count": len(events), "ids": ids, "columns": [column for column, _ in columns]}
    try:
        text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ColumnarError(f"events: {error}; send valid Unicode") from error
    return b"".join((MAGIC, len(text).to_bytes(4, "little"), text, *(data for _, data in columns)))


def _are_ordinals(ids: Mapping[int, object], count: int, header: BatchHeader | None) -> bool:
    if header is None or len(ids) != count:
        return False
    prefix = ordinal_id(epoch=header.epoch, sequence=header.sequence, ordinal=0)[:-1]
    return all(value == f"{prefix}{ordinal}" for ordinal, value in ids.items())


def _cells(events: Sequence[EventDict]) -> Cells:
    # A path that is a value in one event and an object in another is JSON in all of them.
    whole: set[str] = set()
    while True:
        cells: Cells = {}
        for index, event in enumerate(events):
            _flatten(event, (), index, cells, whole)
        clashes = {parent for path in cells for parent in _parents(path) if parent in cells}
        if not clashes:
            return cells
        whole |= clashes


def _parents(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _flatten(
    node: EventDict, parents: tuple[str, ...], index: int, cells: Cells, whole: set[str]
) -> None:
    for name, value in node.items():
        if value is None:
            continue
        if not parents and not _plain(name):
            raise ColumnarError(f"event {index}: field {shorten(name)}; send names without dots")
        names = (*parents, name)
        path = ".".join(names)
        if isinstance(value, Mapping) and path not in whole and _flattens(value, names):
            _flatten(value, names, index, cells, whole)
        else:
            cells.setdefault(path, {})[index] = value


def _flattens(value: EventDict, names: tuple[str, ...]) -> bool:
    filled = any(item is not None for item in value.values())
    return filled and len(names) < PATH_PARTS_MAX and all(map(_plain, value))


def _plain(name: str) -> bool:
    return bool(name) and "." not in name and name.isprintable()


def _column(path: str, cells: dict[int, Any], count: int) -> tuple[dict[str, Any], bytes]:
    kind, numbers, values, base = _typed(path, list(cells.values()))
    top = max(numbers) - base
    sizes = (0, *TYPECODES)
    width = next(size for size in sizes if top < 1 << (8 * size))
    present = len(cells) < count
    bits = _bitmap(cells, count) if present else b""
    raw = [number - base for number in numbers]
    if present and width:
        spread = [0] * count
        for index, number in zip(cells, raw, strict=True):
            spread[index] = number
        raw = spread
    head = {"path": path, "kind": kind, "width": width, "base": base}
    head |= {"values": values, "present": present} if values else {"present": present}
    return head, bits + _packed(raw, width)


def _typed(path: str, values: list[Any]) -> tuple[str, list[int], list[str], int]:
    kinds = set(map(type, values))
    if kinds == {bool}:
        numbers = [int(value) for value in values]
        return "bool", numbers, [], min(numbers)
    if kinds == {int} and min(values) >= INT64_MIN and max(values) <= INT64_MAX:
        return "int", values, [], min(values)
    if kinds == {str}:
        times = _times(values) if path in TIME_PATHS else None
        return ("time", times, [], min(times)) if times else ("text", *_indexed(values), 0)
    return "json", *_indexed([_json(value) for value in values]), 0


def _times(values: list[str]) -> list[int] | None:
    try:
        return [(parse_rfc3339(value) - EPOCH) // MICROSECOND for value in values]
    except Rfc3339Error:
        return None


def _indexed(values: list[str]) -> tuple[list[int], list[str]]:
    indexes: dict[str, int] = {}
    return [indexes.setdefault(value, len(indexes)) for value in values], list(indexes)


def _json(value: object) -> str:
    return json.dumps(_without_nulls(value), separators=(",", ":"), ensure_ascii=False)


def _without_nulls(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _bitmap(cells: Mapping[int, object], count: int) -> bytes:
    bits = bytearray((count + 7) // 8)
    for index in cells:
        bits[index >> 3] |= 1 << (index & 7)
    return bytes(bits)


def _packed(raw: list[int], width: int) -> bytes:
    if not width:
        return b""
    packed = array(TYPECODES[width], raw)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
