"""Turns raw items into events, or into the reason why one may not be counted.

Invariant: an item becomes an event exactly when `wire.parse.parse_event` accepts it, with the
same values. A strict decoder reads what it can vouch for; whatever it refuses is read again by
that reference, one by one, so that nothing is coerced and every refusal names its field.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ledger.domain.metering.fact import Reason
from ledger.domain.metering.structs import CANONICAL, FAST, DecodedEvent
from ledger.wire.errors import EventError, LineError, Problem, storable
from ledger.wire.limits import RESERVATION
from ledger.wire.ndjson import decode_line
from ledger.wire.parse import canonical_json, parse_event
from ledger.wire.strict_json import load_json

DETAIL_CHARS_MAX = 1_000
ID_CHARS_MAX = 256
_FAST_ERRORS = (msgspec.DecodeError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Reject:
    """Why an item is quarantined; id and source as far as they could be read.

    All of it is `storable` text, whatever was sent: nothing else of a refused item becomes text.
    """

    reason: Reason
    detail: str
    event_id: str | None = None
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", storable(self.detail, DETAIL_CHARS_MAX))
        object.__setattr__(self, "source", storable(self.source, ID_CHARS_MAX))
        if self.event_id is not None:
            object.__setattr__(self, "event_id", storable(self.event_id, ID_CHARS_MAX))


def decode_items(items: Sequence[bytes]) -> list[DecodedEvent | Reject]:
    """Each item as an event or a refusal, in order."""
    return [_decode(item) for item in items]


def _decode(item: bytes) -> DecodedEvent | Reject:
    if _may_be_vouched(item):
        try:
            fast = FAST.decode(item)
            # The strict decoder takes the last of two values of a name.
            load_json(item)
            if not _is_held_to_parts(fast):
                return fast
        except _FAST_ERRORS:
            pass
    return read_slowly(item)


def _is_held_to_parts(event: DecodedEvent) -> bool:
    """Whether an event says of what parts it is, which only the reference adds up."""
    usage = getattr(event.data, "usage", None)
    return usage is not None and bool(usage.parts)


def _may_be_vouched(item: bytes) -> bool:
    # The strict decoder lets NUL pass, and bytes that are not UTF-8 in attributes it skips.
    if b"\\u0000" in item:
        return False
    if item.isascii():
        return True
    try:
        item.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_slowly(item: bytes) -> DecodedEvent | Reject:
    """The reference: the models of the wire decide, and say what is wrong."""
    try:
        raw = decode_line(item)
    except LineError as error:
        return Reject(Reason.NOT_JSON, str(error))
    try:
        event = parse_event(raw)
    except EventError as error:
        return reject(error.problems, raw)
    if event.type == RESERVATION:
        detail = "type: reservations are asked for by POST /v1/reservations; send the usage event"
        return reject([], raw, Reason.UNSUPPORTED_TYPE, detail)
    return CANONICAL.decode(canonical_json(event))


def reject(
    problems: Sequence[Problem],
    raw: dict[str, object],
    reason: Reason | None = None,
    detail: str = "",
) -> Reject:
    """A refusal with every problem found, under the reason of the first."""
    text = "; ".join(str(problem) for problem in problems) or detail
    return Reject(
        reason or Reason(problems[0].code),
        text,
        _text(raw.get("id")),
        _text(raw.get("source")) or "",
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
