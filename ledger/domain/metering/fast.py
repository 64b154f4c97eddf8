"""Decodes the lines of a call that share shapes as columns, and says which are left.

Invariant: a row that is read here has the values, and keeps the place, that the strict decoder and
the checks of one event would give it; whatever they refuse is left to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ledger.domain.arrays import Bools, Fixed, Ints, Texts
from ledger.domain.metering.decode import Reject, decode_items
from ledger.domain.metering.flat import Known
from ledger.domain.metering.items import Items
from ledger.domain.metering.ndjson.scan import are_ascii
from ledger.domain.metering.ndjson.shape import ID, Matched, Shape, learn, match, read_ids
from ledger.domain.metering.ndjson.slots import TEXT, are_ordinals
from ledger.domain.metering.parts import Part
from ledger.domain.metering.rules import ColumnRule
from ledger.wire.batch import BatchHeader
from ledger.wire.rules import TextRule
from ledger.wire.schema import Path

# Who sends many shapes at once, or shapes of one line each, is read line by line.
SHAPES_MAX = 24
_FEW_LINES = 16
_SOURCE = ("source",)


@dataclass(frozen=True, slots=True)
class ShapedLines:
    """What was read of each shape met, and the rows that are left."""

    parts: Sequence[Part]
    rest: Ints


def read_shaped(items: Items, rows: Ints) -> ShapedLines:
    """Read the rows that share shapes; one line of each shape is decoded by the strict decoder."""
    expected = _Expected.of(items)
    parts: list[Part] = []
    rest: list[Ints] = []
    for _ in range(SHAPES_MAX):
        if rows.size < _FEW_LINES:
            break
        shape = _learn(items[int(rows[0])])
        if shape is None:
            rest.append(rows[:1])
            rows = rows[1:]
            continue
        matched = match(shape, items.octets, items.words, items.starts[rows], items.ends[rows])
        part, left = _read(shape, matched, items, rows, expected)
        parts.append(part)
        rest.append(left)
        rows = rows[~matched.lines]
    return ShapedLines(parts, np.sort(np.concatenate([*rest, rows])))


def _learn(line: bytes) -> Shape | None:
    if b"\\" in line or isinstance(decode_items([line])[0], Reject):
        return None
    return learn(line)


@dataclass(frozen=True, slots=True)
class _Expected:
    """What ids and sources the batches of a call must have; `headers` None is a keyed record."""

    headers: Sequence[BatchHeader | None]
    prefixes: Fixed

    @classmethod
    def of(cls, items: Items) -> "_Expected":
        headers = [record.header for record in items.records]
        texts = [f"{h.epoch}.{h.sequence}.".encode() if h else b"" for h in headers]
        return cls(headers, Fixed.of(texts))


def _read(
    shape: Shape, matched: Matched, items: Items, rows: Ints, expected: _Expected
) -> tuple[Part, Ints]:
    """The lines of a shape, and those of them that are left after all."""
    lines = np.flatnonzero(matched.lines)
    mine = rows[lines]
    whole = lines.size == rows.size
    values = matched.values if whole else matched.values[:, lines]
    lengths = matched.lengths if whole else matched.lengths[:, lines]
    owners = items.owners[mine]
    good = np.ones(lines.size, np.bool_)
    known: dict[Path, Known] = {}
    for n, slot in enumerate(shape.slots):
        if slot.kind != TEXT:
            known[slot.path] = (values[n], None)
        elif slot.comes_again:
            texts = matched.texts(items.octets, n)
            known[slot.path] = (texts, None)
            good &= _are_kept(slot.rule, texts, matched.sizes(n))
            if slot.path == _SOURCE:
                good &= _of_batch(texts, expected.headers, owners)
        elif slot.path == ID:
            good &= _read_ids(slot.rule, (values[n], lengths[n]), items, mine, expected, known)
        else:
            # Nobody reads it, but it has to be text.
            good &= are_ascii(items.words, values[n], lengths[n])
    part = Part(shape.kind, mine, known, shape.constants, dict.fromkeys(shape.unknown))
    return part.only(good), mine[~good]


def _are_all_kept(rule: TextRule, texts: Texts, sizes: Ints) -> bool:
    """Whether all may stand by their octets alone: a text has no more characters than octets, of
    which one that stands in a line as it is has no NUL."""
    if not sizes.size or not rule.is_of_length_alone() or texts.values.null_count():
        return False
    return rule.low <= min(1, sizes.min()) and (rule.high is None or sizes.max() <= rule.high)


def _are_kept(rule: ColumnRule, texts: Texts, sizes: Ints) -> Bools | bool:
    assert isinstance(rule, TextRule), "texts that are read have a rule"
    if _are_all_kept(rule, texts, sizes):
        return True
    kept: Bools = np.array(rule.keeps(texts.values.to_list()), np.bool_)[texts.codes]
    return kept


def _read_ids(
    rule: ColumnRule,
    spans: tuple[Ints, Ints],
    items: Items,
    rows: Ints,
    expected: _Expected,
    known: dict[Path, Known],
) -> Bools:
    """Keeps the ids, unless all are places; returns which may stand where they stand."""
    owners = items.owners[rows]
    headed = np.array([header is not None for header in expected.headers], np.bool_)[owners]
    if headed.all():
        return _are_ordinals(spans, items, rows, expected)
    ids = read_ids(items.octets, *spans)
    known[ID] = (ids, None)
    placed: Bools = ~headed | _are_ordinals(spans, items, rows, expected)
    kept: Bools = placed & _are_kept(rule, ids, spans[1])
    return kept


def _are_ordinals(spans: tuple[Ints, Ints], items: Items, rows: Ints, expected: _Expected) -> Bools:
    owners = items.owners[rows]
    ordinals = rows - items.firsts[owners]
    return are_ordinals(items.octets, items.words, *spans, owners, ordinals, expected.prefixes)


def _of_batch(texts: Texts, headers: Sequence[BatchHeader | None], owners: Ints) -> Bools:
    codes: Mapping[str | None, int] = {value: code for code, value in enumerate(texts.values)}
    wanted = np.array([codes.get(h.source, -1) if h else -2 for h in headers], np.int64)[owners]
    of_batch: Bools = (wanted == -2) | (texts.codes == wanted)
    return of_batch
