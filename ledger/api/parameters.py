"""The one place where paths and queries are read: known names, once each, within bounds."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, get_args
from urllib.parse import unquote, unquote_to_bytes

from litestar.handlers import BaseRouteHandler
from litestar.types import Empty

from ledger.api.request import ApiRequest
from ledger.domain.errors import InvalidInputError
from ledger.wire.errors import Rfc3339Error
from ledger.wire.fields import NAME_CHARS_MAX
from ledger.wire.rfc3339 import parse_rfc3339

TEXT_CHARS_MAX = 1_000
ROW_MAX = 2**63 - 1
FLAGS = ("true", "false")
# What the framework gives a handler; `scope` to its own, which answers OPTIONS.
_GIVEN = frozenset({"request", "scope"})
# Stands for a slash inside a name while routes are told apart by slashes; no text has this sign.
_SLASH = "\ufdd0"


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a path or a query may say under a name: text, a whole number or true and false."""

    name: str
    kind: type
    required: bool
    default: Any = None


@lru_cache(512)
def parameters_of(handler: BaseRouteHandler) -> tuple[Parameter, ...]:
    """The parameters of a handler, by its signature."""
    fields = handler.parsed_fn_signature.parameters
    return tuple(
        Parameter(
            name,
            next(kind for kind in (get_args(field.annotation) or (field.annotation,))),
            field.default is Empty,
            None if field.default is Empty else field.default,
        )
        for name, field in fields.items()
        if name not in _GIVEN
    )


def path_of(raw: bytes) -> str | None:
    """The path to route by, of one that was encoded: each part decoded once, a slash in it kept
    apart; None where nothing was."""
    raw = raw.partition(b"?")[0]
    if b"%" not in raw:
        return None
    parts = raw.decode("latin-1").split("/")
    return "/".join(unquote(part).replace("/", _SLASH) for part in parts)


def check_parameters(request: ApiRequest) -> None:
    """Refuse what the route does not know or cannot mean; InvalidInputError names it."""
    known = {each.name: each for each in parameters_of(request.route_handler)}
    in_path = request.path_params
    for name, value in in_path.items():
        _check_path(name, value)
        if isinstance(value, str):
            in_path[name] = value.replace(_SLASH, "/")
    given = _pairs(request.scope["query_string"])
    for name, times in Counter(name for name, _ in given).items():
        if name not in known or name in in_path:
            asked = ", ".join(sorted(known.keys() - in_path.keys())) or "none"
            raise InvalidInputError(
                f"There is no query parameter {name[:40]!r}.", f"There are: {asked}.", name[:40]
            )
        if times > 1:
            raise InvalidInputError(f"{name}: found {times} times.", "Send it once.", name)
    for name, text in given:
        _check_query(known[name], text)
    for name, parameter in known.items():
        if parameter.required and name not in in_path and name not in dict(given):
            raise InvalidInputError(f"{name}: found nothing.", "Send it.", name)


def _pairs(query: bytes) -> list[tuple[str, str]]:
    pairs = [part.partition(b"=") for part in query.split(b"&") if part]
    return [(_text("query", name), _text("query", value)) for name, _, value in pairs]


def _text(where: str, raw: bytes) -> str:
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"The {where} is not UTF-8.", "Encode it so.", where) from error
    if "\0" in text:
        raise InvalidInputError(f"The {where} has a NUL.", "Leave it out.", where)
    return text


def _check_path(name: str, value: object) -> None:
    if isinstance(value, str):
        # What a server could not decode is left as half characters or as signs of replacement.
        if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
            raise InvalidInputError(f"{name}: found no text.", "Send UTF-8 without NUL.", name)
        if len(value) > NAME_CHARS_MAX:
            action = f"Send at most {NAME_CHARS_MAX} characters."
            raise InvalidInputError(f"{name}: found {len(value)} characters.", action, name)
    elif isinstance(value, int) and not 0 <= value <= ROW_MAX:
        raise InvalidInputError(f"{name}: found {str(value)[:40]}.", f"Send 0 to {ROW_MAX}.", name)


def _check_query(parameter: Parameter, text: str) -> None:
    name, shown = parameter.name, text[:40]
    if len(text) > TEXT_CHARS_MAX:
        action = f"Send at most {TEXT_CHARS_MAX} characters."
        raise InvalidInputError(f"{name}: found {len(text)} characters.", action, name)
    if parameter.kind is bool and text not in FLAGS:
        raise InvalidInputError(f"{name}: found {shown!r}.", "Send true or false.", name)
    if parameter.kind is int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < len(str(ROW_MAX))):
            raise InvalidInputError(f"{name}: found {shown!r}.", "Send a whole number.", name)


def moment_of(name: str, text: str) -> datetime:
    """The moment a query parameter says; InvalidInputError names the parameter."""
    try:
        return parse_rfc3339(text)
    except Rfc3339Error as error:
        raise InvalidInputError(f"{name}: {error}.", "Send RFC 3339.", name) from error
