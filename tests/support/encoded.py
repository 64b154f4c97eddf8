"""Events as bodies and back, by what encodes one event and decodes one."""

from collections.abc import Iterable
from typing import Any

from ledger.wire.batch import BatchHeader
from ledger.wire.columnar import event_at, read_columns
from ledger.wire.ndjson import EventDict, encode_event


def encode_events(events: Iterable[EventDict]) -> bytes:
    """All events as one NDJSON body, in the order given."""
    return b"".join(map(encode_event, events))


def decode_columnar(body: bytes, header: BatchHeader | None) -> list[dict[str, Any]]:
    """The events of a columnar body as objects."""
    batch = read_columns(body)
    return [event_at(batch, ordinal, header) for ordinal in range(batch.count)]
