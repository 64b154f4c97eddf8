"""Turns a body into the raw bytes of its items, without looking inside them.

Invariant: a body that is not blank has at least one item; one unreadable item never hides another.
"""

import msgspec

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


def _is_list(body: bytes) -> bool:
    return body.lstrip(b" \t\r\n")[:1] == b"["


def _elements(body: bytes) -> list[bytes]:
    try:
        return [bytes(item) for item in _RAW_LIST.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _lines(body) if b"\n" in body.strip() else [body]


def _is_one_value(body: bytes) -> bool:
    try:
        _RAW.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _lines(body: bytes) -> list[bytes]:
    stripped = (line.strip(b" \t\r") for line in body.split(b"\n"))
    return [line for line in stripped if line]
