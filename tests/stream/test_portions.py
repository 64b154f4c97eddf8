"""What was polled goes on in batches that have an end in bytes and in events."""

from typing import NamedTuple

import pytest

from ledger.stream.isolation import Isolation
from ledger.stream.portions import BATCH_BYTES, BATCH_EVENTS, KEYED_BYTES, portions
from ledger.wire.batch import HEADER_COUNT


class Polled(NamedTuple):
    offset: int
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def columns(offset: int, events: int) -> Polled:
    return Polled(offset, b"c", ((HEADER_COUNT, str(events).encode()),))


def test_records_of_few_bytes_and_many_events_are_cut() -> None:
    polled = {0: [columns(n, BATCH_EVENTS // 2) for n in range(3)], 1: [columns(9, 1)]}
    first, second = portions(polled, Isolation())
    assert {n: [r.offset for r in found] for n, found in first.items()} == {0: [0, 1]}
    assert {n: [r.offset for r in found] for n, found in second.items()} == {0: [2], 1: [9]}


@pytest.mark.parametrize(
    ("most", "headers"), [(KEYED_BYTES, ()), (BATCH_BYTES, ((HEADER_COUNT, b"9"),))]
)
def test_records_of_many_bytes_are_cut(most: int, headers: tuple[tuple[str, bytes], ...]) -> None:
    polled = {0: [Polled(n, bytes(most // 4), headers) for n in range(6)]}
    assert [len(portion[0]) for portion in portions(polled, Isolation())] == [4, 2]


LIES = [b"nine", b"-1", b"", b"9" * 5_000, str(BATCH_EVENTS * 9).encode()]


@pytest.mark.parametrize("count", LIES)
def test_a_record_is_never_cut_whatever_it_says(count: bytes) -> None:
    polled = {0: [Polled(0, b"x", ((HEADER_COUNT, count),))]}
    assert list(portions(polled, Isolation())) == [polled]
