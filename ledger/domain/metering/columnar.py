"""Reads columnar batches, and says which rows are left.

A row whose fields are those of another one that the strict decoder accepts differs from it in
values only, each of which is held to its field's rule. Invariant: what is read here is what the
strict decoder would read of the same events.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.arrays import Bools, Ints, Texts
from ledger.domain.metering.decode import Reject, decode_items
from ledger.domain.metering.extras import GROUP_PATHS
from ledger.domain.metering.flat import Known, Value
from ledger.domain.metering.kept import COLUMNS
from ledger.domain.metering.parts import Part
from ledger.domain.metering.rules import (
    HELD_TO_EVENT,
    KINDS,
    TYPE,
    AnyRule,
    ColumnRule,
    rule_of,
    unknown_name,
)
from ledger.wire.batch import BatchHeader
from ledger.wire.columnar import Column, ColumnarBatch, event_at
from ledger.wire.limits import ENERGY
from ledger.wire.ndjson import encode_event
from ledger.wire.rules import BoolRule, TextRule, TimeRule, WholeRule
from ledger.wire.schema import Path

PATTERNS_MAX = 24
_SOURCE = ("source",)
NOWHERE = np.zeros(1, np.bool_)
Raw = NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of each type of event met, and the ordinals that are left."""

    parts: Sequence[Part]
    rest: Ints


def read_columnar(batch: ColumnarBatch, header: BatchHeader | None, first_row: int) -> Read:
    """Read a batch whose rows count from `first_row`; the ordinals left count from 0."""
    ordinals = np.arange(batch.count)
    if header is not None and not batch.ids_are_ordinals:
        return Read([], ordinals)
    left = np.ones(batch.count, np.bool_)
    parts = []
    for kind, of_kind in _kinds(batch):
        good = of_kind & _keep_rules(batch, kind, header)
        good &= _vouched(batch, good, header)
        if good.any():
            parts.append(_part(batch, kind, good, first_row))
            left &= ~good
    return Read(parts, np.flatnonzero(left))


def raw_of(column: Column, count: int) -> Raw:
    """A column's values as they are stored, one an event."""
    if column.width == 0:
        return np.zeros(count, np.uint8)
    return np.frombuffer(column.data, f"<u{column.width}")


def present_of(column: Column, count: int) -> Bools | None:
    """Which events have the field; None is all of them."""
    if column.present is None:
        return None
    octets = np.frombuffer(column.present, np.uint8)
    return np.unpackbits(octets, count=count, bitorder="little").astype(np.bool_)


def _kinds(batch: ColumnarBatch) -> list[tuple[str, Bools]]:
    """Each known type of event, and which events are of it."""
    column = next((c for c in batch.columns if c.path == TYPE and c.kind == "text"), None)
    if column is None:
        return []
    codes, there = raw_of(column, batch.count), present_of(column, batch.count)
    there = np.ones(batch.count, np.bool_) if there is None else there
    return [
        (kind, there & (codes == code)) for code, kind in enumerate(column.values) if kind in KINDS
    ]


def _keep_rules(batch: ColumnarBatch, kind: str, header: BatchHeader | None) -> Bools:
    """Which events have values that their fields may hold, if they are of this type."""
    good = np.ones(batch.count, np.bool_)
    for column in batch.columns:
        path = tuple(column.path.split("."))
        rule = rule_of(kind, path)
        keeps: Bools | bool = _keeps(column, rule, kind, batch.count)
        if path == _SOURCE and header is not None and column.kind == "text":
            of_batch = np.array([value == header.source for value in column.values], np.bool_)
            keeps = keeps & of_batch[raw_of(column, batch.count)]
        if keeps is True:
            continue
        there = present_of(column, batch.count)
        good &= keeps if there is None else keeps | ~there
    return good


def _keeps(column: Column, rule: ColumnRule | None, kind: str, count: int) -> Bools | bool:
    if isinstance(rule, AnyRule):
        return True
    if column.kind == "json":
        if _holds_columns(column, kind):
            return np.zeros(count, np.bool_)
        return _all_of([_is_taken(column, value, kind) for value in column.values], column, count)
    if column.kind == "text" and isinstance(rule, TextRule):
        return _all_of(rule.keeps(column.values), column, count)
    if column.kind == "int" and isinstance(rule, WholeRule):
        return _within(column, rule, count)
    return (column.kind == "time" and isinstance(rule, TimeRule)) or (
        column.kind == "bool" and isinstance(rule, BoolRule)
    )


def _holds_columns(column: Column, kind: str) -> bool:
    """Whether a value of several parts holds some that the ledger keeps, or is held to the rest of
    its event."""
    path = tuple(column.path.split("."))
    return path == HELD_TO_EVENT or any(
        column.path[: len(path)] == path for column in COLUMNS[kind]
    )


def _all_of(kept: Sequence[bool], column: Column, count: int) -> Bools | bool:
    if all(kept):
        return True
    whole: Bools = np.array(kept, np.bool_)[raw_of(column, count)]
    return whole


def _within(column: Column, rule: WholeRule, count: int) -> Bools | bool:
    raw = raw_of(column, count)
    if column.base >= rule.low and column.base + int(raw.max()) <= rule.high:
        return True
    values = raw.astype(np.int64) + column.base
    within: Bools = (values >= rule.low) & (values <= rule.high)
    return within


def _is_taken(column: Column, value: str, kind: str) -> bool:
    """Whether the strict decoder takes a value of several parts in an event that is right."""
    event: dict[str, Any] = json.loads(_LEAST[kind])
    *parents, leaf = column.path.split(".")
    holder: Any = event
    for name in parents:
        if not isinstance(holder, dict):
            return False
        holder = holder.setdefault(name, {})
    if not isinstance(holder, dict):
        return False
    holder[leaf] = json.loads(value)
    return not isinstance(decode_items([encode_event(event)])[0], Reject)


_ENVELOPE = (
    '{"specversion":"1.0","id":"1","source":"1","time":"2026-01-01T00:00:00Z",'
    '"type":"%s","data":%s}'
)
_USAGE = '{"usage":{"input":{},"output":{},"input_total":1},"supersedes":"1","revision":1}'
_ENERGY = '{"gpu_uuid":"1","epoch":"1","energy_mj":1}'
# The least that an event of each type must have.
_LEAST = {kind: _ENVELOPE % (kind, _ENERGY if kind == ENERGY else _USAGE) for kind in KINDS}


def _vouched(batch: ColumnarBatch, good: Bools, header: BatchHeader | None) -> Bools:
    """Of good events those whose fields are the fields of one that the strict decoder accepts."""
    partial = [present_of(c, batch.count) for c in batch.columns if c.present is not None]
    vouched = np.zeros(batch.count, np.bool_)
    patterns = _patterns([pattern for pattern in partial if pattern is not None], batch.count)
    left = good.copy()
    for _ in range(PATTERNS_MAX):
        if not left.any():
            break
        lead = int(np.argmax(left))
        alike = patterns == patterns[lead]
        line = encode_event(event_at(batch, lead, header))
        if not isinstance(decode_items([line])[0], Reject):
            vouched |= alike & good
        left &= ~alike
    return vouched


def _patterns(partial: Sequence[Bools], count: int) -> Ints:
    """A number for each set of fields that events have."""
    if not partial:
        return np.zeros(count, np.int64)
    packed = np.packbits(np.column_stack(partial), axis=1)
    _, numbers = np.unique(packed, axis=0, return_inverse=True)
    return numbers.reshape(-1)


def _part(batch: ColumnarBatch, kind: str, good: Bools, first_row: int) -> Part:
    known: dict[Path, Known] = {}
    constants: dict[Path, object] = {}
    unknown: dict[str, Bools | None] = {}
    for column in batch.columns:
        path = tuple(column.path.split("."))
        name = unknown_name(kind, path)
        if name is not None:
            unknown[name] = _either(unknown.get(name, NOWHERE), present_of(column, batch.count))
        if isinstance(rule_of(kind, path), AnyRule):
            continue
        if column.kind == "json" and path not in GROUP_PATHS:
            continue
        there = present_of(column, batch.count)
        if column.width == 0 and there is None:
            constants[path] = column.values[0] if column.values else column.base
        else:
            known[path] = (_value(column, batch.count), there)
    return Part(kind, np.arange(batch.count) + first_row, known, constants, unknown).only(good)


def _either(left: Bools | None, right: Bools | None) -> Bools | None:
    """Where one of two stands; None is everywhere."""
    return None if left is None or right is None else left | right


def _value(column: Column, count: int) -> Value:
    raw = raw_of(column, count)
    if column.kind in ("text", "json"):
        return Texts(raw, pl.Series(column.values, dtype=pl.String))
    return raw.astype(np.int64) + column.base
