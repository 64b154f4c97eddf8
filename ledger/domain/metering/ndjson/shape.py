"""Reads lines of one shape as columns.

The shape of a line is everything but its values: names, order, spaces, true, false, null, and the
fields of few choices. A line that the strict decoder accepts teaches its shape; another line of the
same shape differs in texts, times and whole numbers only, each of which is held to its field's
rule. Invariant: what is read here is what the strict decoder would read.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Codes, Fixed, Ints, Octets, Texts, Words
from ledger.domain.frames import MANY_ROWS
from ledger.domain.metering.ndjson.scan import as_lines
from ledger.domain.metering.ndjson.slots import NUMBER, TEXT, TIME, Numbered, Rules, match_lines
from ledger.domain.metering.rules import (
    KINDS,
    TYPE,
    AnyRule,
    ColumnRule,
    rule_of,
    unknown_name,
)
from ledger.wire.rules import TextRule, TimeRule, WholeRule
from ledger.wire.schema import ITEM, Path

Constant = str | bool | None
_TEXT_TOKEN, _NAME_TOKEN, _MARK_TOKEN = 1, 3, 4
_INT8_MAX = 2**63 - 1
_TOKEN = re.compile(rb'[ \t]*(?:"([^"]*)"|(-?\d[\d.eE+-]*)|(true|false|null)|([{}\[\],:]))[ \t]*')
_NAMED = {b"true": True, b"false": False, b"null": None}
DEPTH_MAX = 16
ID = ("id",)
SLOTS_MAX = 128


@dataclass(frozen=True, slots=True)
class ValueSlot:
    """A value of a line: its field and the field's rule."""

    path: Path
    rule: ColumnRule
    kind: int

    @property
    def comes_again(self) -> bool:
        """Whether it is a text that many lines have in common: all but an id, of those read."""
        return self.kind == TEXT and isinstance(self.rule, TextRule) and self.path != ID


@dataclass(frozen=True, slots=True)
class Shape:
    """`fixed` has the bytes before each slot, and behind the last.

    `constants` are the fields whose values are part of the shape; `unknown` is what nobody reads.
    """

    kind: str
    slots: tuple[ValueSlot, ...]
    fixed: tuple[bytes, ...]
    constants: dict[Path, Constant] = field(hash=False, compare=False)
    unknown: frozenset[str] = field(hash=False, compare=False)


@dataclass(frozen=True, slots=True)
class _Token:
    text: bytes
    kind: int
    start: int
    end: int


class _UnshapedError(Exception):
    """The line has a value that only the strict decoder can judge."""


@dataclass(slots=True)
class _Reader:
    """Walks the tokens of one valid line."""

    line: bytes
    tokens: Iterator[_Token]
    leaves: list[tuple[Path, _Token]] = field(default_factory=list)

    def read(self, path: Path, token: _Token) -> None:
        if token.text == b"{" and token.kind == _MARK_TOKEN:
            self._read_object(path)
        elif token.text == b"[" and token.kind == _MARK_TOKEN:
            self._read_list(path)
        else:
            self.leaves.append((path, token))

    def _read_object(self, path: Path) -> None:
        while (key := next(self.tokens)).text != b"}" or key.kind != _MARK_TOKEN:
            if key.kind == _TEXT_TOKEN:
                next(self.tokens)
                self.read((*path, key.text.decode()), next(self.tokens))
            if len(path) > DEPTH_MAX:
                raise _UnshapedError

    def _read_list(self, path: Path) -> None:
        while (token := next(self.tokens)).text != b"]" or token.kind != _MARK_TOKEN:
            if token.kind != _MARK_TOKEN or token.text != b",":
                self.read((*path, ITEM), token)
            if len(path) > DEPTH_MAX:
                raise _UnshapedError


def learn(line: bytes) -> Shape | None:
    """The shape of a line that the strict decoder accepts; None where it cannot be told."""
    try:
        return _learn(line)
    except (_UnshapedError, StopIteration, UnicodeDecodeError):
        return None


def _learn(line: bytes) -> Shape:
    reader = _Reader(line, _tokens(line))
    reader.read((), next(reader.tokens))
    leaves = reader.leaves
    named = {path: token.text for path, token in leaves if token.kind == _TEXT_TOKEN}
    kind = named.get((TYPE,), b"").decode()
    paths = [path for path, _ in leaves if ITEM not in path]
    if kind not in KINDS or len(set(paths)) != len(paths):
        raise _UnshapedError
    constants: dict[Path, Constant] = {}
    slots: list[tuple[Path, ColumnRule, _Token]] = []
    for path, token in leaves:
        rule = rule_of(kind, path) if token.kind != _NAME_TOKEN else None
        if token.kind == _NAME_TOKEN:
            constants[path] = _NAMED[token.text]
        elif isinstance(rule, TextRule) and rule.choices is not None and token.kind == _TEXT_TOKEN:
            constants[path] = token.text.decode()
        else:
            slots.append((path, _fitting(rule, token), token))
    return _shape(line, kind, slots, constants)


def _tokens(line: bytes) -> Iterator[_Token]:
    at = 0
    while at < len(line):
        match = _TOKEN.match(line, at)
        if match is None or match.lastindex is None:
            raise _UnshapedError
        group = match.lastindex
        yield _Token(match[group], group, match.start(group), match.end(group))
        at = match.end()


def _fitting(rule: ColumnRule | None, token: _Token) -> ColumnRule:
    quoted = token.kind == _TEXT_TOKEN
    if isinstance(rule, AnyRule) or (quoted and isinstance(rule, TextRule | TimeRule)):
        return rule
    if not quoted and isinstance(rule, WholeRule):
        return rule
    raise _UnshapedError


def _shape(
    line: bytes,
    kind: str,
    tokens: Sequence[tuple[Path, ColumnRule, _Token]],
    constants: dict[Path, Constant],
) -> Shape:
    edges = [token.start for _, _, token in tokens] + [len(line)]
    ends = [0] + [token.end for _, _, token in tokens]
    fixed = tuple(line[a:b] for a, b in zip(ends, edges, strict=True))
    if len(tokens) > SLOTS_MAX:
        raise _UnshapedError
    slots = [ValueSlot(path, rule, _slot_kind(rule, token)) for path, rule, token in tokens]
    said = [slot.path for slot in slots]
    said += [path for path, value in constants.items() if value is not None]
    unknown = {name for path in said if (name := unknown_name(kind, path)) is not None}
    return Shape(kind, tuple(slots), fixed, constants, frozenset(unknown))


def _slot_kind(rule: ColumnRule, token: _Token) -> int:
    if token.kind != _TEXT_TOKEN:
        return NUMBER
    return TIME if isinstance(rule, TimeRule) else TEXT


@dataclass(frozen=True, slots=True)
class Matched:
    """Which lines have the shape, and the values and lengths of each slot (slot × line).

    Texts that come again have numbers: `codes` of the slots `coded`, which first stood at `leads`.
    """

    lines: Bools
    values: Ints
    lengths: Ints
    coded: Sequence[int]
    codes: Codes
    leads: Sequence[Ints]

    def texts(self, octets: Octets, slot: int) -> Texts:
        """The texts of a coded slot, each distinct one read once; one that is not UTF-8 is null."""
        n = self.coded.index(slot)
        codes = self.codes[n] if self.lines.all() else self.codes[n][self.lines]
        at = self.leads[n]
        return Texts(codes, _texts_at(octets, self.values[slot, at], self.lengths[slot, at]))

    def sizes(self, slot: int) -> Ints:
        """The octets of each distinct text of a coded slot."""
        sizes: Ints = self.lengths[slot, self.leads[self.coded.index(slot)]]
        return sizes


def match(shape: Shape, octets: Octets, words: Words, starts: Ints, ends: Ints) -> Matched:
    """The lines of a shape, values held to their rules but for what a text may say."""
    size = (len(shape.slots), starts.size)
    values, lengths = np.empty(size, np.int64), np.empty(size, np.int64)
    coded = [n for n, slot in enumerate(shape.slots) if slot.comes_again]
    numbered = Numbered(
        np.array(coded, np.int64),
        np.empty((len(coded), starts.size), np.uint32),
        np.empty((len(coded), starts.size), np.int64),
        np.zeros(len(coded), np.int64),
    )
    fixed, rules = Fixed.of(shape.fixed), _rules(shape.slots)
    matched = match_lines(octets, words, starts, ends, fixed, rules, values, lengths, numbered)
    counts = numbered.counts.tolist()
    leads = [first[:count] for first, count in zip(numbered.firsts, counts, strict=True)]
    return Matched(matched, values, lengths, coded, numbered.codes, leads)


def _rules(slots: Sequence[ValueSlot]) -> Rules:
    limits = [_limits(slot.rule) for slot in slots]
    return Rules(
        np.array([slot.kind for slot in slots], np.int64),
        np.array([low for low, _ in limits], np.int64),
        np.array([high for _, high in limits], np.int64),
    )


def _limits(rule: ColumnRule) -> tuple[int, int]:
    return (rule.low, rule.high) if isinstance(rule, WholeRule) else (0, _INT8_MAX)


def read_ids(octets: Octets, starts: Ints, lengths: Ints) -> Texts:
    """Texts that hardly come twice: each row has a number of its own; one not UTF-8 is null."""
    return Texts(np.arange(starts.size), _texts_at(octets, starts, lengths))


def _texts_at(octets: Octets, starts: Ints, lengths: Ints) -> pl.Series:
    lines = as_lines(octets, starts, lengths).tobytes()
    try:
        # A plain text has no control character, so that all are decoded at one go.
        whole = lines.decode()
    except UnicodeDecodeError:
        return pl.Series([_decoded(line) for line in lines.split(b"\n")[:-1]], dtype=pl.String)
    if starts.size < MANY_ROWS:
        return pl.Series(whole.split("\n")[:-1], dtype=pl.String)
    # Many are never objects of Python.
    return pl.Series([whole[:-1]]).str.split("\n").explode()


def _decoded(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None
