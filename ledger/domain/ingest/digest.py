"""Turns decoded content into a digest that says whether two events say the same.

Over decoded fields, not bytes nor transport attributes, so that another encoding of the same events
has the same digest. The first field is a version: a change of the list of fields changes it.
"""

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

from ledger.domain.fact import Content, Correction, GpuReading, Scrape, Usage
from ledger.domain.money import plain
from ledger.domain.period import EPOCH, MICROSECOND

_VERSIONS: dict[type, str] = {
    Usage: "usage.1",
    Correction: "correction.1",
    GpuReading: "energy.1",
    Scrape: "counters.1",
}


def content_digest(content: Content) -> UUID:
    """The digest of one event's content."""
    return _digest((_VERSIONS[type(content)], *_flat(content)))


def raw_digest(raw: bytes) -> UUID:
    """The digest of something that could not be read."""
    return UUID(bytes=blake2b(raw, digest_size=16, person=b"raw").digest())


def batch_digest(digests: Iterable[UUID]) -> UUID:
    """The digest of a batch: of its events' digests in order."""
    hashed = blake2b(digest_size=16, person=b"batch.1")
    for one in digests:
        hashed.update(one.bytes)
    return UUID(bytes=hashed.digest())


def text_digest(*parts: str) -> int:
    """63 bits of a content hash over texts, each with its length before it."""
    hashed = blake2b(digest_size=8, person=b"key.1")
    for part in parts:
        encoded = part.encode()
        hashed.update(len(encoded).to_bytes(4, "big"))
        hashed.update(encoded)
    return int.from_bytes(hashed.digest(), "big") >> 1


def _digest(parts: Iterable[str]) -> UUID:
    hashed = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode()
        hashed.update(len(encoded).to_bytes(4, "big"))
        hashed.update(encoded)
    return UUID(bytes=hashed.digest())


def _flat(value: object) -> Iterable[str]:
    match value:
        case None:
            yield "~"
        case datetime():
            yield str((value - EPOCH) // MICROSECOND)
        case Decimal():
            yield plain(value.normalize())
        case tuple():
            yield str(len(value))
            for item in value:
                yield from _flat(item)
        case int() | str():
            yield str(int(value)) if isinstance(value, int) else value
        case _:
            for field in fields(value):  # type: ignore[arg-type]
                yield from _flat(getattr(value, field.name))
