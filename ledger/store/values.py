"""Rows of a query as values: what leaves the store has a type, whose fields the columns are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import asyncpg

Value = TypeVar("Value")
# What PostgreSQL has in another form: sums of 64 bits are `numeric`, which has no end, and arrays.
FORMS: Mapping[Any, Callable[[Any], Any]] = MappingProxyType(
    {int: int, tuple: tuple, frozenset: frozenset}
)


def values_of(kind: Callable[..., Value], rows: Sequence[asyncpg.Record]) -> list[Value]:
    """Each row as a value of a dataclass or named tuple; TypeError where its fields are others."""
    if not rows:
        return []
    forms = _forms(kind)
    names = list(rows[0].keys())
    if sorted(names) != sorted(forms):
        raise TypeError(f"{kind.__name__} has {', '.join(forms)}, the row {', '.join(names)}")
    order = [names.index(name) for name in forms]
    changed = [(at, form) for at, form in enumerate(forms.values()) if form is not None]
    return [kind(*_formed([row[at] for at in order], changed)) for row in rows]


def _formed(
    values: list[Any], changed: Sequence[tuple[int, Callable[[Any], Any]]]
) -> Sequence[Any]:
    for at, form in changed:
        if values[at] is not None:
            values[at] = form(values[at])
    return values


@cache
def _forms(kind: Any) -> Mapping[str, Callable[[Any], Any] | None]:
    """What each field's value is made with, in the order of the fields; None is as it comes."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else kind._fields
    return {name: _form(hints[name]) for name in names}


def _form(hint: Any) -> Callable[[Any], Any] | None:
    for each in (hint, *get_args(hint)) if type(None) in get_args(hint) else (hint,):
        if form := FORMS.get(get_origin(each) or each):
            return form
    return None
