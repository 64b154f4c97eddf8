"""How values leave: decimals as text in plain notation, times as RFC 3339, counts as integers."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from litestar import Response

from ledger.domain.errors import InvalidInputError
from ledger.store.resources import ListedRow
from ledger.wire.plain import plain_value

T = TypeVar("T")
JSON = "application/json"
LIMIT_MAX = 1_000
ROW_MAX = 2**63


def answer(value: object, status: int = 200) -> Response[bytes]:
    """A JSON response of plain values, mappings and dataclasses."""
    return Response(encode(value), status_code=status, media_type=JSON)


def encode(value: object) -> bytes:
    """JSON bytes; a float among the values is a mistake of ours and raises TypeError."""
    return json.dumps(plain_value(value), ensure_ascii=False, separators=(",", ":")).encode()


def page(rows: Sequence[T], limit: int, key_of: Callable[[T], int]) -> dict[str, object]:
    """A page of rows and the cursor of the next one; `location_of` says where a row stands."""
    more = len(rows) > limit
    shown = list(rows[:limit])
    return {"items": shown, "next": to_cursor(key_of(shown[-1])) if more else None}


def page_after(rows: Sequence[ListedRow], limit: int) -> dict[str, object]:
    """A page of rows that say their own place."""
    last = rows[limit - 1].position if len(rows) > limit else None
    shown = [row.values for row in rows[:limit]]
    return {"items": shown, "next": to_cursor(*last) if last else None}


def to_cursor(*keys: object) -> str:
    """An opaque place in a list."""
    return urlsafe_b64encode(encode(list(keys))).decode().rstrip("=")


def from_cursor(cursor: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """The place a cursor names; InvalidInputError where it is not one of ours."""
    keys = _decoded(cursor)
    if cursor is None or keys is None:
        return None
    if [type(part) for part in keys] != list(kinds):
        raise _not_ours(cursor)
    return tuple(keys)


def from_row_cursor(cursor: str | None) -> list[str] | None:
    """The place of a row that says its own; InvalidInputError where it is not one of ours."""
    keys = _decoded(cursor)
    if cursor is not None and keys is not None and not all(isinstance(p, str) for p in keys):
        raise _not_ours(cursor)
    return keys


def from_numbered_cursor(cursor: str) -> tuple[int, list[str]]:
    """The number and the place that a cursor names; InvalidInputError where it is not ours."""
    keys = _decoded(cursor) or []
    number, *rest = keys
    if type(number) is not int or not all(isinstance(part, str) for part in rest):
        raise _not_ours(cursor)
    return number, rest


def _decoded(cursor: str | None) -> list[Any] | None:
    if cursor is None:
        return None
    try:
        text = urlsafe_b64decode((cursor + "=" * (-len(cursor) % 4)).encode("ascii"))
        keys = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise _not_ours(cursor) from error
    if not isinstance(keys, list) or not keys or not all(map(_is_storable, keys)):
        raise _not_ours(cursor)
    return keys


def _is_storable(part: object) -> bool:
    """Whether the database takes it: text without NUL or half a character, 64 bits of a number."""
    if isinstance(part, str):
        return "\0" not in part and not any("\ud800" <= c <= "\udfff" for c in part)
    return type(part) is int and abs(part) < ROW_MAX


def _not_ours(cursor: str) -> InvalidInputError:
    return InvalidInputError(
        f"cursor: found {cursor[:40]!r}.", "Send the `next` of the page before.", "cursor"
    )


def check_limit(limit: int) -> int:
    """A page size in 1..1000."""
    if not 1 <= limit <= LIMIT_MAX:
        raise InvalidInputError(f"limit: found {limit}.", f"Send 1 to {LIMIT_MAX}.", "limit")
    return limit
