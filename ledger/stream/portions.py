"""What was polled, cut where a batch is full: records differ, and a poll goes by the last."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.domain.metering.lines import items_guessed
from ledger.stream.isolation import Isolation
from ledger.wire.batch import HEADER_COUNT, MAX_BATCH_BYTES

# What a batch holds at most, unless it is one record: three of them are in memory at once, of which
# one still has its bodies. Lines are bounded by their bytes, columns by their events; events with
# ids of their own take more than others, an id and a digest each.
BATCH_BYTES, KEYED_BYTES = 28 * MAX_BATCH_BYTES, 18 * MAX_BATCH_BYTES
BATCH_EVENTS = 72_000
_COUNT_DIGITS = 10


def portions(
    fresh: Mapping[int, Sequence[Any]], isolation: Isolation
) -> Iterator[Mapping[int, Sequence[Any]]]:
    """The batches of what was polled; partitions where something failed come last."""
    portion, filled = dict[int, list[Any]](), 0.0
    for partition, records in sorted(fresh.items(), key=lambda each: isolation.meets(each[0])):
        for record in records:
            at_once = isolation.share(partition, record.offset)
            share = 1 / at_once if at_once else share_of(record)
            if portion and filled + share > 1:
                yield portion
                portion, filled = {}, 0.0
            portion.setdefault(partition, []).append(record)
            filled += share
    if portion:
        yield portion


def share_of(record: Any) -> float:
    """How much of a batch a record fills; who sends lines need not say how many events they are."""
    said = dict(record.headers).get(HEADER_COUNT) or b"" if record.headers else b""
    value = record.value or b""
    known = said.isdigit() and len(said) < _COUNT_DIGITS
    items = int(said) if known else items_guessed(value)
    most = BATCH_BYTES if said else KEYED_BYTES
    return max(len(value) / most, items / BATCH_EVENTS)
