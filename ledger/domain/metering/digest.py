"""Turns what events say into digests: of an event with an id of its own, and of a whole batch."""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from uuid import UUID

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.frames import keep_rows
from ledger.domain.metering.contents import Contents, contents
from ledger.domain.metering.items import Items
from ledger.wire.columnar import event_at, read_columns
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.errors import WireError

EVENT, BATCH = b"event2", b"batch4"
# The first byte of a digest says how it was made; the other fifteen are BLAKE2b's. Whoever changes
# what a digest is of counts this up: a digest of another version says nothing about content.
VERSION = 1
MARK, HASH_BYTES = bytes([VERSION]), 15
DIGESTS = {"row": pl.Int64, "digest": pl.Binary}


def content_digests(decoded: Mapping[str, pl.DataFrame], rows: pl.Series) -> pl.DataFrame:
    """`row` and `digest` (sixteen bytes) of each of these rows that was decoded."""
    parts = []
    for kind, frame in decoded.items():
        wanted = keep_rows(frame, np.isin(frame["row"].to_numpy(), rows.to_numpy()))
        if wanted.height:
            digests = pl.Series("digest", _each(contents(kind, wanted)), pl.Binary)
            parts.append(pl.DataFrame([wanted["row"], digests]))
    return pl.concat(parts) if parts else pl.DataFrame(schema=DIGESTS)


def _each(events: Contents) -> list[bytes]:
    # A copy costs less than naming size and person again.
    begun = blake2b(digest_size=HASH_BYTES, person=EVENT)
    digests = []
    for record in events.each():
        hasher = begun.copy()
        hasher.update(record)
        digests.append(MARK + hasher.digest())
    return digests


def batch_digests(decoded: Mapping[str, pl.DataFrame], items: Items) -> dict[int, UUID]:
    """The digest of each record that is a whole batch.

    It is made of its events, kind by kind, and then of the items that are no events, in order.
    """
    batches = [
        n
        for n, record in enumerate(items.records)
        if record.header is not None
        and items.sizes[n] == record.header.count
        # A body that was refused whole is one item, which a batch of one must not be taken for.
        and int(items.firsts[n]) not in items.rejects
    ]
    if not batches:
        return {}
    kinds = [contents(kind, frame) for kind, frame in decoded.items() if frame.height]
    unread = _unread(decoded, items)
    return {n: _batch_digest(items, n, kinds, unread) for n in batches}


def _unread(decoded: Mapping[str, pl.DataFrame], items: Items) -> Ints:
    read = np.zeros(len(items), np.bool_)
    for frame in decoded.values():
        read[frame["row"].to_numpy()] = True
    return np.flatnonzero(~read)


def _batch_digest(items: Items, record: int, kinds: Sequence[Contents], unread: Ints) -> UUID:
    first = int(items.firsts[record])
    until = first + int(items.sizes[record])
    hasher = blake2b(b"%d;" % (until - first), digest_size=HASH_BYTES, person=BATCH)
    for events in kinds:
        rows, columns = events.of_rows(first, until)
        if rows.size:
            hasher.update(f"{events.kind};{rows.size};".encode())
            # The rows of all are known by how many they are.
            if rows.size < until - first:
                hasher.update((rows - first).astype("<i4").data)
            for words in columns:
                hasher.update(words)
    for row in unread[slice(*np.searchsorted(unread, (first, until)))].tolist():
        raw = plain_item(items[row])
        hasher.update(b"item;%d;%d;" % (row - first, len(raw)))
        hasher.update(raw)
    return UUID(bytes=MARK + hasher.digest())


def plain_item(item: bytes) -> bytes:
    """An item that is no event, the same in every encoding: JSON in one form, else its bytes."""
    try:
        value = json.loads(item.decode())
        value = event_at(read_columns(encode_columnar([value], None)), 0, None)
    except (ValueError, RecursionError, AttributeError, WireError):
        return item
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
