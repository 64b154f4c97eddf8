"""How values leave: decimals as text in plain notation, times as RFC 3339, counts as integers."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
from litestar import Response

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import plain
from ledger.wire.rfc3339 import format_rfc3339

JSON = "application/json"
LIMIT_MAX = 1_000


def answer(value: Any, status: int = 200) -> Response[bytes]:
    """A JSON response of plain values, records and dataclasses."""
    return Response(encode(value), status_code=status, media_type=JSON)


def encode(value: Any) -> bytes:
    """JSON bytes; a float among the values is a mistake of ours and raises TypeError."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")).encode()


def page(rows: Sequence[Any], limit: int, cursor_of: str) -> dict[str, Any]:
    """A page of rows and the cursor of the next one; `cursor_of` names the column it walks."""
    more = len(rows) > limit
    shown = list(rows[:limit])
    return {"items": shown, "next": to_cursor(shown[-1][cursor_of]) if more else None}


def to_cursor(*place: Any) -> str:
    """An opaque place in a list."""
    return urlsafe_b64encode(encode(list(place))).decode().rstrip("=")


def from_cursor(cursor: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """The place a cursor names; InvalidInputError where it is not one of ours."""
    if cursor is None:
        return None
    try:
        place = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if len(place) == len(kinds) and all(map(isinstance, place, kinds)):
            return tuple(place)
    except (ValueError, TypeError):
        pass
    raise InvalidInputError(
        f"cursor: found {cursor[:40]!r}.", "Send the `next` of the page before.", "cursor"
    )


def check_limit(limit: int) -> int:
    """A page size in 1..1000."""
    if not 1 <= limit <= LIMIT_MAX:
        raise InvalidInputError(f"limit: found {limit}.", f"Send 1 to {LIMIT_MAX}.", "limit")
    return limit


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping | asyncpg.Record):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return _text(value)


def _text(value: Any) -> str:
    match value:
        case Decimal():
            return plain(value)
        case datetime():
            return format_rfc3339(value)
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
