"""Turns a body into the raw bytes of its items, without looking inside them.

Invariant: a body that is not blank has at least one item; one unreadable item never hides another.
"""

import msgspec
import numpy as np

from ledger.wire.batch import MAX_BATCH_EVENTS

# What a body may hold, as a numbered batch does: some bytes of nothing must not be hours of work.
ITEMS_MAX = MAX_BATCH_EVENTS
# The shortest item with what parts it from the next, and the fewest commas of an event.
_ITEM_BYTES_MIN, _EVENT_COMMAS_MIN = 2, 6
_FEW_BYTES = 4096

_RAW = msgspec.json.Decoder(msgspec.Raw)
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def split_body(body: bytes) -> list[bytes]:
    """One object, a JSON array of them, or one a line (NDJSON); blank lines are no items."""
    if _is_list(body):
        return _elements(body)
    return [body.strip()] if _is_one_value(body) else _lines(body)


def is_lines(body: bytes) -> bool:
    """Whether a body is read as one item a line."""
    return not _is_list(body) and not _is_one_value(body)


def too_many_items(body: bytes) -> bool:
    """Whether a body that is no columns has more than ITEMS_MAX items; blank lines count as such
    where there are too many lines."""
    if len(body) < _ITEM_BYTES_MIN * ITEMS_MAX:
        return False
    if not _is_list(body):
        return _lines_in(body) > ITEMS_MAX and not _is_one_value(body)
    if _count(body, b",") < ITEMS_MAX:
        return False
    # Loaded here, because most processes never meet a large body.
    from ledger.domain.metering.ndjson.scan import count_elements

    return count_elements(np.frombuffer(body, np.uint8), ITEMS_MAX) > ITEMS_MAX


def items_guessed(body: bytes) -> int:
    """About how many items a body has, to share work by; of a list at least as many as events."""
    if _is_list(body):
        return _count(body, b",") // _EVENT_COMMAS_MIN + 1
    return _lines_in(body)


def _lines_in(body: bytes) -> int:
    return _count(body, b"\n") + (not body.endswith(b"\n"))


def _count(body: bytes, octet: bytes) -> int:
    if len(body) < _FEW_BYTES:
        return body.count(octet)
    # Of bytes that stand often, numpy counts ten times as many a second.
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == octet[0]))


def _is_list(body: bytes) -> bool:
    return body.lstrip(b" \t\r\n")[:1] == b"["


def _elements(body: bytes) -> list[bytes]:
    try:
        return [bytes(item) for item in _RAW_LIST.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _lines(body) if b"\n" in body.strip() and _lines_in(body) <= ITEMS_MAX else [body]


def _is_one_value(body: bytes) -> bool:
    try:
        _RAW.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _lines(body: bytes) -> list[bytes]:
    stripped = (line.strip(b" \t\r") for line in body.split(b"\n"))
    return [line for line in stripped if line]
