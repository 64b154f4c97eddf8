"""The spool's file format: one batch a record, checksummed, so that a torn tail shows itself.

A record is `TLB2`, the lengths of fields and body (u32 each, big-endian), the CRC-32 of both, then
the batch header as JSON and the encoded events, deflated: readings of one host are much alike.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ledger.wire.batch import MAX_BATCH_BYTES, Batch, BatchHeader
from ledger.wire.errors import BatchHeaderError

_FRAME = struct.Struct(">4sIII")
_MAGIC = b"TLB2"
_FIELDS_BYTES_MAX = 4096
# The fastest: it makes a tenth of a batch, and stronger ones not much less.
_DEFLATE = 1
# What cannot be deflated grows, by less than this.
_GROWTH_BYTES = 1024
SUFFIX = ".seg"


@dataclass(frozen=True, slots=True)
class RecordPosition:
    """Where a record lies: which file, from which byte, how many bytes."""

    sequence: int
    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Scan:
    """A segment's good records, where the last ends, and how many bytes follow that are none."""

    records: tuple[RecordPosition, ...]
    good_end: int
    torn_bytes: int


def encode_record(batch: Batch) -> bytes:
    """A batch as the bytes that are kept."""
    fields = json.dumps(asdict(batch.header), sort_keys=True).encode()
    body = zlib.compress(batch.body, _DEFLATE)
    checksum = zlib.crc32(body, zlib.crc32(fields))
    return _FRAME.pack(_MAGIC, len(fields), len(body), checksum) + fields + body


def decode_record(record: bytes) -> Batch | None:
    """The batch of one whole record; None when it is torn or was changed on disk."""
    if len(record) < _FRAME.size:
        return None
    magic, fields_bytes, body_bytes, checksum = _FRAME.unpack_from(record)
    fields, body = _cut(record, fields_bytes)
    whole = len(fields) == fields_bytes and len(body) == body_bytes
    if magic != _MAGIC or not whole or zlib.crc32(body, zlib.crc32(fields)) != checksum:
        return None
    try:
        return Batch(BatchHeader(**json.loads(fields)), zlib.decompress(body))
    except (ValueError, TypeError, BatchHeaderError, zlib.error):
        return None


def scan_segment(path: Path) -> Scan:
    """Find every good record, past a damaged one too, and what follows the last."""
    data = path.read_bytes()
    records = tuple(_records(path, data))
    good_end = records[-1].offset + records[-1].length if records else 0
    return Scan(records, good_end, torn_bytes=len(data) - good_end)


def read_record(position: RecordPosition) -> Batch | None:
    """Read one record again; None when the file no longer holds it."""
    try:
        with position.path.open("rb") as file:
            file.seek(position.offset)
            return decode_record(file.read(position.length))
    except FileNotFoundError:
        return None


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: a file whose name is lost is lost."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file durable as it is read now."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str) -> None:
    """Replace a small file as a whole, durable before the old one is gone."""
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def _cut(record: bytes, fields_bytes: int) -> tuple[bytes, bytes]:
    middle = _FRAME.size + fields_bytes
    return record[_FRAME.size : middle], record[middle:]


def _records(path: Path, data: bytes) -> Iterator[RecordPosition]:
    """Every good record; after a damaged one, whatever good ones follow it."""
    offset = 0
    while offset >= 0:
        length = _record_length(data, offset)
        batch = decode_record(data[offset : offset + length]) if length else None
        if batch is None:
            offset = data.find(_MAGIC, offset + 1)
            continue
        yield RecordPosition(batch.header.sequence, path, offset, length)
        offset += length


def _record_length(data: bytes, offset: int) -> int:
    """How long the record at this offset says it is; 0 when there is none."""
    if len(data) - offset < _FRAME.size:
        return 0
    magic, fields_bytes, body_bytes, _ = _FRAME.unpack_from(data, offset)
    plausible = fields_bytes <= _FIELDS_BYTES_MAX and body_bytes <= MAX_BATCH_BYTES + _GROWTH_BYTES
    return _FRAME.size + fields_bytes + body_bytes if magic == _MAGIC and plausible else 0
