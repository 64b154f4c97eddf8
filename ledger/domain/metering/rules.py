"""What each field of an event may hold, read off the strict structs, by the field's path.

Invariant: a value that keeps its path's rule is one that the strict decoder accepts; a path without
a rule is read by that decoder alone. Fields that no struct names may hold anything.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from msgspec import inspect

from ledger.domain.metering.columns import TIMES
from ledger.domain.metering.structs import CorrectionEvent, EnergyEvent, UsageEvent

Path = tuple[str, ...]
TYPE = "type"
DATA = "data"
KINDS: dict[str, Any] = {
    "inference.usage.v1": UsageEvent,
    "inference.usage.correction.v1": CorrectionEvent,
    "gpu.energy.v1": EnergyEvent,
}
ITEM = "[]"
_TIME_FIELDS = {*TIMES, "sampled_at"}


@dataclass(frozen=True, slots=True)
class TextRule:
    """A text of so many characters without NUL, of these choices or this form where named."""

    low: int = 0
    high: int | None = None
    choices: frozenset[str] | None = None
    pattern: Callable[[str], Any] | None = None

    def keeps(self, values: Sequence[str | None]) -> list[bool]:
        """Of each text whether it may stand here; None may not."""
        low, high = self.low, sys.maxsize if self.high is None else self.high
        choices, pattern = self.choices, self.pattern
        kept = [
            value is not None and low <= len(value) <= high and "\0" not in value
            for value in values
        ]
        if choices is None and pattern is None:
            return kept
        return [
            one
            and value is not None
            and (choices is None or value in choices)
            and (pattern is None or bool(pattern(value)))
            for one, value in zip(kept, values, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class WholeRule:
    """A whole number from `low` to `high`."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class TimeRule:
    """A time as RFC 3339."""


@dataclass(frozen=True, slots=True)
class AnyRule:
    """A field that nobody reads."""


@dataclass(frozen=True, slots=True)
class BoolRule:
    """true or false."""


Rule = TextRule | WholeRule | TimeRule | AnyRule | BoolRule
ANY = AnyRule()


@lru_cache(4096)
def rule_of(kind: str, path: Path) -> Rule | None:
    """The rule of a leaf of an event of a type, None where only the strict decoder can tell.

    `path` names the fields from the envelope down, `ITEM` an element of a list.
    """
    if path == (TYPE,):
        return TextRule(choices=frozenset({kind}))
    node: inspect.Type | None = _event_type(kind)
    for name in path:
        node = _step(node, name)
        if node is None:
            return ANY
    return _leaf_rule(node, path[-1])


@lru_cache(4096)
def unknown_name(kind: str, path: Path) -> str | None:
    """The attribute of an event's data that nobody reads and that a value lies in, or at; its name
    without what lies inside."""
    node: inspect.Type | None = _event_type(kind)
    for depth, name in enumerate(path, 1):
        node = _step(node, name)
        if node is None:
            # Other attributes of the envelope are extensions, which anybody may add.
            return ".".join(path[:depth]) if path[0] == DATA else None
    return None


@lru_cache
def _event_type(kind: str) -> inspect.Type:
    return inspect.type_info(KINDS[kind])


def _step(node: inspect.Type | None, name: str) -> inspect.Type | None:
    """The type below; None where nobody names it."""
    for one in _choices(node):
        if isinstance(one, inspect.StructType):
            return next((f.type for f in one.fields if f.encode_name == name), None)
        if isinstance(one, inspect.DictType) and name != ITEM:
            return one.value_type
        if isinstance(one, inspect.ListType) and name == ITEM:
            return one.item_type
    return inspect.NoneType()


def _choices(node: inspect.Type | None) -> Sequence[inspect.Type]:
    if isinstance(node, inspect.Metadata):
        return _choices(node.type)
    return node.types if isinstance(node, inspect.UnionType) else () if node is None else (node,)


def _leaf_rule(node: inspect.Type | None, name: str) -> Rule | None:
    for one in _choices(node):
        if isinstance(one, inspect.StrType):
            return TimeRule() if name in _TIME_FIELDS else _text_rule(one)
        if isinstance(one, inspect.LiteralType):
            return _literal_rule(one)
        if isinstance(one, inspect.IntType) and one.ge is not None and one.le is not None:
            return WholeRule(one.ge, one.le)
        if isinstance(one, inspect.BoolType):
            return BoolRule()
    return None


def _text_rule(one: inspect.StrType) -> TextRule:
    pattern = re.compile(one.pattern).search if one.pattern else None
    return TextRule(one.min_length or 0, one.max_length, pattern=pattern)


def _literal_rule(one: inspect.LiteralType) -> Rule:
    if all(isinstance(value, str) for value in one.values):
        return TextRule(choices=frozenset(str(value) for value in one.values))
    numbers = [int(str(value)) for value in one.values]
    return WholeRule(min(numbers), max(numbers))
