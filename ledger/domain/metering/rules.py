"""What each field of an event may hold, by its path in the table of fields.

Invariant: a value that keeps its path's rule is one that the strict decoder accepts; a path without
a rule is read by that decoder alone. Fields that no shape names may hold anything.
"""

from dataclasses import dataclass
from functools import lru_cache

from ledger.wire.events import EVENT_TYPES
from ledger.wire.limits import CORRECTION, ENERGY, USAGE
from ledger.wire.rules import BoolRule, DecimalRule, SizeRule, TextRule, TimeRule, WholeRule
from ledger.wire.schema import Form, Path, below

TYPE = "type"
DATA = "data"
# The types that are read as columns.
KINDS = (USAGE, CORRECTION, ENERGY)


@dataclass(frozen=True, slots=True)
class AnyRule:
    """A field that nobody reads."""


ColumnRule = TextRule | WholeRule | TimeRule | AnyRule | BoolRule
ANY = AnyRule()
_ANY_TEXT = TextRule()
# What is held to the rest of its event, which the strict decoder alone does.
HELD_TO_EVENT: Path = (DATA, "usage", "parts")


@lru_cache(4096)
def rule_of(kind: str, path: Path) -> ColumnRule | None:
    """The rule of a leaf of an event of a type, None where only the strict decoder can tell.

    `path` names the fields from the envelope down, `ITEM` an element of a list.
    """
    if path[: len(HELD_TO_EVENT)] == HELD_TO_EVENT:
        return None
    form = Form(shape=EVENT_TYPES[kind])
    for name in path:
        inner = below(form, name)
        if inner is None:
            return ANY
        form = inner
    if isinstance(form.rule, DecimalRule):
        # A text as good as any, until frames are validated.
        return _ANY_TEXT
    return None if isinstance(form.rule, SizeRule) else form.rule


@lru_cache(4096)
def unknown_name(kind: str, path: Path) -> str | None:
    """The attribute of an event's data that nobody reads and that a value lies in, or at; its name
    without what lies inside."""
    form = Form(shape=EVENT_TYPES[kind])
    for depth, name in enumerate(path, 1):
        inner = below(form, name)
        if inner is None:
            # Other attributes of the envelope are extensions, which anybody may add.
            return ".".join(path[:depth]) if path[0] == DATA else None
        form = inner
    return None
