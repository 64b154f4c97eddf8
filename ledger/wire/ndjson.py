"""Events to NDJSON bytes and back: one JSON object a line, the same bytes for the same events."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ledger.wire.batch import MAX_BATCH_BYTES, Batch, BatchHeader, ordinal_id
from ledger.wire.errors import EventTooLargeError, LineError, shorten
from ledger.wire.strict_json import load_json

EventDict = Mapping[str, Any]
# What some editors put before a text of UTF-8; before a body it is no part of it.
MARK = b"\xef\xbb\xbf"
# What a batch gives each of its events.
BY_HEADER = frozenset({"id", "source"})
# Most values of most events.
_NO_FLOATS = frozenset({str, int, bool, type(None)})
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def encode_event(event: EventDict) -> bytes:
    """One event as a line with its newline: keys sorted, no spaces, UTF-8; a float is refused."""
    refuse_floats(event, "event")
    return _ENCODER.encode(event).encode() + b"\n"


def split_events(
    events: Iterable[EventDict], *, max_bytes: int = MAX_BATCH_BYTES
) -> Iterator[tuple[bytes, int]]:
    """NDJSON bodies of at most `max_bytes` with the number of events in each, order kept."""
    lines: list[bytes] = []
    size = 0
    for event in events:
        line = _fitting_line(event, max_bytes)
        if lines and size + len(line) > max_bytes:
            yield b"".join(lines), len(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield b"".join(lines), len(lines)


def batch_events(
    events: Iterable[EventDict], *, first: BatchHeader, max_bytes: int = MAX_BATCH_BYTES
) -> Iterator[Batch]:
    """Sequenced batches counting on from `first`: each event takes its place as id and the source.

    `first` gives source, producer, epoch, encoding and the first sequence; its count is ignored.
    """
    bare = (encode_bare(event) for event in events)
    return batch_lines(bare, first=first, max_bytes=max_bytes)


def encode_bare(event: EventDict) -> bytes:
    """One event as a line that `batch_lines` gives its place: without id and source."""
    return encode_event({name: event[name] for name in event if name not in BY_HEADER})


def batch_lines(
    bare: Iterable[bytes], *, first: BatchHeader, max_bytes: int = MAX_BATCH_BYTES
) -> Iterator[Batch]:
    """`batch_events` of events that are encoded already, by `encode_bare`."""
    header, lines, size = first, list[bytes](), 0
    source = json.dumps(first.source).encode()
    for event in bare:
        line = _placed_line(event, header, source, len(lines), max_bytes)
        if lines and size + len(line) > max_bytes:
            yield Batch(replace(header, count=len(lines)), b"".join(lines))
            header, lines, size = replace(header, sequence=header.sequence + 1), [], 0
            line = _placed_line(event, header, source, 0, max_bytes)
        lines.append(line)
        size += len(line)
    if lines:
        yield Batch(replace(header, count=len(lines)), b"".join(lines))


def iter_lines(body: bytes) -> Iterator[bytes]:
    """The lines of an NDJSON body that are not blank, without their line ends."""
    for line in body.split(b"\n"):
        stripped = line.strip(b" \t\r")
        if stripped:
            yield stripped


def decode_line(line: bytes) -> dict[str, Any]:
    """One line as an object; refuses anything else, NaN, names that stand twice, and nesting beyond
    the parser."""
    try:
        # A mark inside a body is no JSON, and no decoder behind this one takes it.
        value = load_json(line.decode())
    except (ValueError, RecursionError) as error:
        raise LineError(f"line {shorten(line)} is not JSON ({error}); send one object") from error
    if not isinstance(value, dict):
        raise LineError(f"line {shorten(line)} is JSON but no object; send one event a line")
    return value


def refuse_floats(value: object, where: str) -> None:
    """Refuse a float at any depth: counts are integers, money and rates are decimal text."""
    # Where it is costs more to say than that it is there, and it seldom is.
    if _holds_float(value):
        _name_float(value, where)


def _holds_float(value: object) -> bool:
    if type(value) in _NO_FLOATS:
        return False
    if type(value) is dict or isinstance(value, Mapping):
        return any(map(_holds_float, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_float, value))
    return isinstance(value, float)


def _name_float(value: object, where: str) -> None:
    if isinstance(value, float):
        raise LineError(f"{where}: found float {value!r}; send an integer or decimal text")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _name_float(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _name_float(item, f"{where}[{index}]")


def _placed_line(
    bare: bytes, header: BatchHeader, source: bytes, ordinal: int, max_bytes: int
) -> bytes:
    event_id = ordinal_id(epoch=header.epoch, sequence=header.sequence, ordinal=ordinal).encode()
    # The place goes in front of what is encoded: nothing is encoded twice for it.
    rest = bare[1:] if bare.startswith(b"{}") else b"," + bare[1:]
    return _fitting(b'{"id":"%b","source":%b%b' % (event_id, source, rest), max_bytes)


def _fitting_line(event: EventDict, max_bytes: int) -> bytes:
    return _fitting(encode_event(event), max_bytes)


def _fitting(line: bytes, max_bytes: int) -> bytes:
    if len(line) > max_bytes:
        raise EventTooLargeError(
            f"event of {len(line)} bytes exceeds the batch limit of {max_bytes}; send fewer values"
        )
    return line
