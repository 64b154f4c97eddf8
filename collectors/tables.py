"""Tables of a file, of variables or of a command line to frozen dataclasses, each value checked.

A name that nobody knows is refused with the one that was meant. Errors never show a value: it may
be a secret that stands in the wrong place.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ledger.wire.rfc3339 import parse_rfc3339

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Table = Mapping[str, object]
T = TypeVar("T", bound="DataclassInstance")
_TRUE, _FALSE = ("1", "true", "on", "yes"), ("0", "false", "off", "no")


def read_table(kind: type[T], table: Table, where: str = "") -> T:
    """A table as its dataclass; ValueError names the first thing that is wrong, and what is right.

    Bounds of a field stand in its metadata: `low`, `high`, and `least` for the length of a list.
    """
    hints = get_type_hints(kind)
    known = {field_of.name: field_of for field_of in fields(kind)}
    for name in table:
        if name not in known:
            raise ValueError(f"{where}{name} is no setting; {_meant(name, known)}")
    for name, field_of in known.items():
        if (
            name not in table
            and field_of.default is MISSING
            and field_of.default_factory is MISSING
        ):
            raise ValueError(f"{where}{name} is missing")
    return kind(
        **{
            name: _read(hints[name], value, known[name], f"{where}{name}")
            for name, value in table.items()
        }
    )


def merged(*tables: Table) -> dict[str, object]:
    """One table of several, later ones winning name by name, inner tables included."""
    whole: dict[str, object] = {}
    for table in tables:
        for name, value in table.items():
            before = whole.get(name)
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                value = merged(before, value)  # noqa: PLW2901
            whole[name] = value
    return whole


def nested(pairs: Mapping[str, str], separator: str) -> dict[str, object]:
    """Flat names to inner tables: `http.url` is `url` of the table `http`."""
    whole: dict[str, object] = {}
    for name in sorted(pairs):
        value: object = pairs[name]
        for part in reversed(name.split(separator)):
            value = {part: value}
        assert isinstance(value, dict)
        whole = merged(whole, value)
    return whole


def closest(name: str, known: "Mapping[str, object]") -> str | None:
    """The name that was probably meant."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, n=1, cutoff=0.6)), None)


def _meant(name: str, known: Mapping[str, object]) -> str:
    near = closest(name, known)
    return f"did you mean {near}?" if near else f"there are {', '.join(known)}"


def _read(hint: object, value: object, field_of: "Field[object]", where: str) -> object:
    """One value of the type wanted; text is read as the type where a variable can say no more."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        if value is None:
            return None
        (hint,) = (each for each in args if each is not NoneType)
        return _read(hint, value, field_of, where)
    if origin is Literal:
        if value not in args:
            raise ValueError(f"{where}: write one of {', '.join(map(str, args))}")
        return value
    if origin is list:
        return _read_list(args[0], value, field_of, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return value if isinstance(value, hint) else _read_inner(hint, value, where)
    assert isinstance(hint, type)
    return _read_scalar(hint, value, field_of, where)


def _read_inner(kind: type[T], value: object, where: str) -> T:
    table = _parsed(value)
    if not isinstance(table, Mapping):
        raise ValueError(f"{where}: write a table [{where}]")
    return read_table(kind, table, f"{where}.")


def _read_list(hint: object, value: object, field_of: "Field[object]", where: str) -> list[object]:
    items = _parsed(value)
    least = field_of.metadata.get("least", 0)
    if not isinstance(items, list | tuple) or len(items) < least:
        raise ValueError(f"{where}: write a list of {least} or more")
    return [_read(hint, item, field_of, f"{where}[{number}]") for number, item in enumerate(items)]


def _parsed(value: object) -> object:
    """A list or table given as JSON, which is all that a variable can hold."""
    if not isinstance(value, str):
        return value
    try:
        parsed: object = json.loads(value)
    except ValueError:
        return value
    return parsed


def _read_scalar(kind: type, value: object, field_of: "Field[object]", where: str) -> object:
    read, wanted = _SCALARS[kind]
    try:
        read_value = read(value)
    except (ValueError, TypeError, ArithmeticError):
        read_value = None
    # Raised from nothing: what was given may be a secret, and errors show what they came from.
    if read_value is None or not _fits(read_value, field_of):
        low, high = field_of.metadata.get("low"), field_of.metadata.get("high")
        bounds = f" from {low}" if low is not None else ""
        bounds += f" to {high}" if high is not None else ""
        raise ValueError(f"{where}: write {wanted}{bounds}")
    return read_value


def _fits(value: object, field_of: "Field[object]") -> bool:
    """Whether a number, or the length of a text, is within the field's bounds."""
    size = len(value) if isinstance(value, str) else value
    if not isinstance(size, int | Decimal):
        return True
    low, high = field_of.metadata.get("low", size), field_of.metadata.get("high", size)
    return bool(low <= size <= high)


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    return int(value)


def _flag(value: object) -> bool:
    said = str(value).lower()
    if said not in _TRUE + _FALSE:
        raise ValueError
    return said in _TRUE


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError
    number = Decimal(str(value))
    if not number.is_finite():
        raise InvalidOperation
    return number


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(_text(value))


def _instant(value: object) -> datetime:
    moment = value if isinstance(value, datetime) else parse_rfc3339(_text(value))
    if moment.tzinfo is None:
        raise ValueError
    return moment


_SCALARS: Mapping[type, tuple[Callable[[object], object], str]] = MappingProxyType(
    {
        str: (_text, "text"),
        int: (_whole, "a whole number"),
        bool: (_flag, "true or false"),
        Decimal: (_number, "a number"),
        Path: (_path, "a path"),
        datetime: (_instant, "a time with its offset, like 2026-08-06T06:31:12Z"),
    }
)
