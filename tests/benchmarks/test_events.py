"""The events of the benchmarks are what a gateway sends, and the ledger takes every one."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from benchmarks import events
from benchmarks.events import Batch
from ledger.wire.batch import MAX_BATCH_BYTES, BatchHeader
from ledger.wire.events import UsageEvent
from ledger.wire.parse import parse_event
from tests.support.encoded import decode_columnar

COUNT = 2 * events.RECORD_EVENTS + 7
Make = Callable[[int], Iterator[Batch]]
NDJSON: list[Make] = [events.sequenced, events.ordered, events.random_ids]


def lines(batches: list[Batch]) -> list[bytes]:
    return [line for batch in batches for line in batch.body.splitlines()]


@pytest.mark.parametrize("make", [*NDJSON, events.single])
def test_every_event_is_accepted_and_names_a_customer_of_the_bench(make: Make) -> None:
    found = [parse_event(json.loads(line)) for line in lines(list(make(COUNT)))]
    assert len(found) == COUNT
    for event in found:
        assert isinstance(event, UsageEvent)
        assert event.customer_id in events.customers()
        assert event.data.engine is not None
        assert event.data.first_token_at is not None


@pytest.mark.parametrize("make", NDJSON)
def test_a_batch_fits_in_a_record_and_an_event_has_the_size_of_a_gateways(make: Make) -> None:
    for batch in make(COUNT):
        assert len(batch.body) <= MAX_BATCH_BYTES
        assert 350 <= len(batch.body) / batch.events <= 560
        assert len(batch.body.splitlines()) == batch.events


@pytest.mark.parametrize("make", [*NDJSON, events.single])
def test_every_event_has_an_id_of_its_own_within_its_source_and_producer(make: Make) -> None:
    ids = [
        (batch.lane if batch.header else 0, json.loads(line)["id"])
        for batch in make(COUNT)
        for line in batch.body.splitlines()
    ]
    assert len(set(ids)) == COUNT


def test_ordered_ids_grow_and_random_ones_do_not() -> None:
    def ids(make: Make) -> list[str]:
        return [json.loads(line)["id"] for line in lines(list(make(COUNT)))]

    assert all(a < b for a, b in pairwise(ids(events.ordered)))
    assert not all(a < b for a, b in pairwise(ids(events.random_ids)))


def test_a_producers_batches_count_from_one_without_holes() -> None:
    headers = [batch.header for batch in events.sequenced(COUNT, record_events=100)]
    places: dict[str, list[int]] = {}
    for header in headers:
        assert header is not None
        places.setdefault(header.producer, []).append(header.sequence)
    assert len(places) == events.LANES
    for found in places.values():
        assert found == list(range(1, len(found) + 1))


@pytest.mark.parametrize("make", [events.sequenced, events.ordered])
def test_events_sent_again_are_new_ones_that_say_the_same(make: Make) -> None:
    first = list(make(COUNT))
    again = [batch.again(107) for batch in first]
    olds, news = ([json.loads(line) for line in lines(some)] for some in (first, again))
    assert not {event["id"] for event in olds} & {event["id"] for event in news}
    assert [event["data"] for event in olds] == [event["data"] for event in news]
    assert [len(batch.body) for batch in first] == [len(batch.body) for batch in again]
    for batch in again:
        assert batch.header is None or batch.header.epoch == 107


def test_columnar_batches_hold_the_same_events_in_fewer_bytes() -> None:
    (one,) = events.columnar(500)
    said = [json.loads(line) for batch in events.sequenced(500) for line in batch.body.splitlines()]
    assert one.header is not None
    found = decode_columnar(one.body, one.header)
    for ordinal, event in enumerate(found):
        parse_event(event)
        assert event["id"] == f"{one.header.epoch}.{one.header.sequence}.{ordinal}"
    assert [event["data"]["usage"] for event in found] == [e["data"]["usage"] for e in said]
    assert len(one.body) / one.events < 150


def test_attempts_last_as_long_and_count_as_much_however_many_customers_there_are() -> None:
    def found(named: int) -> set[tuple[timedelta, str]]:
        batches = list(events.sequenced(2 * events.VARIETY, named=named))
        return {_lasts_and_counts(json.loads(line)) for line in lines(batches)}

    few = found(events.CUSTOMERS)
    assert len(few) == events.VARIETY
    assert found(100_000) == few


def _lasts_and_counts(event: dict[str, Any]) -> tuple[timedelta, str]:
    data = event["data"]
    ended, started = map(datetime.fromisoformat, (event["time"], data["started_at"]))
    return ended - started, json.dumps(data["usage"])


def test_a_sequenced_event_has_its_place_as_its_id() -> None:
    for batch in events.sequenced(COUNT):
        assert isinstance(batch.header, BatchHeader)
        assert batch.header.count == batch.events
        for ordinal, line in enumerate(batch.body.splitlines()):
            place = f"{batch.header.epoch}.{batch.header.sequence}.{ordinal}"
            assert json.loads(line)["id"] == place
