"""The fields of events as a table, read off their shapes: what all readers of events are made of.

pydantic reads the shapes by itself (`wire.parse`); the strict decoder, the rules of columns and of
lines, the times of a columnar batch and docs/events.md go by this table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

from ledger.wire.events import EVENT_TYPES
from ledger.wire.rules import About, Rule, TextRule, TimeRule, choice_rule

# Stands in a path for any element of a list.
ITEM = "[]"
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """What stands somewhere in an event: a value under a rule, a shape, a list or a mapping.

    `literal` are the values of one that has few, `inner` the elements of a list or the values of a
    mapping, whose names keep `names`.
    """

    rule: Rule | None = None
    literal: tuple[object, ...] = ()
    shape: type | None = None
    inner: "Form | None" = None
    names: TextRule | None = None
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """A field of a shape; without a default it is required."""

    name: str
    form: Form
    about: str
    required: bool
    default: object = None


@cache
def fields_of(shape: type) -> Mapping[str, FieldEntry]:
    """The fields of a shape by name, in order."""
    hints = get_type_hints(shape, include_extras=True)
    assert is_dataclass(shape)
    return {
        each.name: FieldEntry(
            each.name,
            _form(hints[each.name]),
            _about(hints[each.name]),
            required=each.default is MISSING and each.default_factory is MISSING,
            default=None if each.default is MISSING else each.default,
        )
        for each in fields(shape)
    }


def below(form: Form, name: str) -> Form | None:
    """What stands under a name in it, `ITEM` an element; None where nobody names that."""
    if form.shape is not None:
        entry = fields_of(form.shape).get(name)
        return None if entry is None else entry.form
    if form.inner is not None and (name == ITEM) == (form.names is None):
        return form.inner
    return Form()


def walk(form: Form, path: Path = ()) -> Iterator[tuple[Path, FieldEntry]]:
    """Every field of a shape and of the shapes in it, by its path."""
    if form.inner is not None:
        yield from walk(form.inner, path if form.names else (*path, ITEM))
    if form.shape is not None:
        for name, entry in fields_of(form.shape).items():
            yield (*path, name), entry
            yield from walk(entry.form, (*path, name))


def time_paths() -> frozenset[str]:
    """The fields of all events that are times, by their paths with dots."""
    return frozenset(
        ".".join(path)
        for shape in EVENT_TYPES.values()
        for path, entry in walk(Form(shape=shape))
        if isinstance(entry.form.rule, TimeRule)
    )


def _about(hint: object) -> str:
    return next((each.text for each in _extras(hint) if isinstance(each, About)), "")


def _form(hint: object, rule: Rule | None = None, *, nullable: bool = False) -> Form:
    if get_origin(hint) is Annotated:
        said = next((each for each in _extras(hint) if isinstance(each, Rule)), rule)
        return _form(get_args(hint)[0], said, nullable=nullable)
    if get_origin(hint) in (Union, UnionType):
        (only,) = (each for each in get_args(hint) if each is not NoneType)
        return _form(only, rule, nullable=True)
    values = get_args(hint)
    if get_origin(hint) is Literal:
        return Form(choice_rule(values), values, nullable=nullable)
    if get_origin(hint) is tuple:
        return Form(rule, inner=_form(values[0]), nullable=nullable)
    if get_origin(hint) is dict:
        names = _form(values[0]).rule
        assert isinstance(names, TextRule)
        return Form(rule, inner=_form(values[1]), names=names, nullable=nullable)
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return Form(shape=hint, nullable=nullable)
    assert rule is not None, hint
    return Form(rule, nullable=nullable)


def _extras(hint: object) -> tuple[object, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()
