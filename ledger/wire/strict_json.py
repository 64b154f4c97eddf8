"""JSON that means one thing: a name that stands twice in one object is refused, and so is NaN."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

_NAME_CHARS_MAX = 80


def load_json(text: str | bytes, *, parse_float: Callable[[str], Any] | None = None) -> Any:
    """The value of a JSON text; ValueError says what is wrong, RecursionError that it is too deep.

    Parsers differ in which of two values of a name they take, so neither is taken. Bytes are UTF-8
    and nothing else; a byte order mark before a whole document is no part of it.
    """
    return json.loads(
        text.decode("utf-8-sig") if isinstance(text, bytes) else text,
        parse_float=parse_float,
        parse_constant=_refuse_constant,
        object_pairs_hook=_once,
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {name[:_NAME_CHARS_MAX]!r} stands twice in one object")
            seen.add(name)
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
