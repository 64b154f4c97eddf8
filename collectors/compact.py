"""Batches as columns where that is smaller: the same events, the same place, the same digest."""

from dataclasses import replace

from ledger.wire.batch import COLUMNAR, NDJSON, Batch
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.errors import WireError
from ledger.wire.ndjson import decode_line, iter_lines


def compact(batch: Batch) -> Batch:
    """The batch in columnar.v1; as it is where that is no smaller or cannot hold its events."""
    if batch.header.encoding != NDJSON:
        return batch
    header = replace(batch.header, encoding=COLUMNAR)
    try:
        body = encode_columnar([decode_line(line) for line in iter_lines(batch.body)], header)
    except (WireError, RecursionError):
        # The ledger says of each event what is wrong with it; a sender must not stop at one.
        return batch
    return Batch(header, body) if len(body) < len(batch.body) else batch
