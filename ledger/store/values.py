"""Rows of a query as values: what leaves the store has a type, whose fields the columns are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import asyncpg

Value = TypeVar("Value")
# What PostgreSQL has in another form: sums of 64 bits are `numeric`, which has no end, and arrays.
FORMS = frozenset({int, tuple, frozenset})


def values_of(kind: Callable[..., Value], rows: Sequence[asyncpg.Record]) -> list[Value]:
    """Each row as a value of a dataclass or named tuple; TypeError where its fields are others."""
    if not rows:
        return []
    forms = _forms(kind)
    names = list(rows[0].keys())
    if sorted(names) != sorted(forms):
        raise TypeError(f"{kind.__name__} has {', '.join(forms)}, the row {', '.join(names)}")
    order = [names.index(name) for name in forms]
    changed = _changed(rows, order, list(forms.values()))
    if not changed and order == sorted(order):
        return [kind(*row) for row in rows]
    return [kind(*_formed([row[at] for at in order], changed)) for row in rows]


def _changed(
    rows: Sequence[asyncpg.Record], order: Sequence[int], forms: Sequence[type | None]
) -> list[tuple[int, type]]:
    """Which values have another form than their fields': those of a column are all of one type."""
    changed = []
    for index, (at, form) in enumerate(zip(order, forms, strict=True)):
        if form is not None:
            known = next((row[at] for row in rows if row[at] is not None), None)
            if known is not None and not isinstance(known, form):
                changed.append((index, form))
    return changed


def _formed(values: list[Any], changed: Sequence[tuple[int, type]]) -> Sequence[object]:
    for at, form in changed:
        if values[at] is not None:
            values[at] = form(values[at])
    return values


@cache
def _forms(kind: Any) -> Mapping[str, type | None]:
    """What each field's value is made with, in the order of the fields; None is as it comes."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else kind._fields
    return {name: _form(hints[name]) for name in names}


def _form(hint: object) -> type | None:
    for each in (hint, *get_args(hint)) if type(None) in get_args(hint) else (hint,):
        form: type = get_origin(each) or each
        if form in FORMS:
            return form
    return None
