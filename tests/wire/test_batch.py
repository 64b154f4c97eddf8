"""Headers and NDJSON survive the trip, and a batch never outgrows its limit."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.wire.batch import ENCODINGS, HEADERS, Batch, BatchHeader, ordinal_id
from ledger.wire.errors import BatchHeaderError, EventTooLargeError, LineError
from ledger.wire.ndjson import batch_events, decode_line, encode_event, iter_lines, split_events

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
NUMBERS = st.integers(min_value=1, max_value=2**63 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.lists(st.dictionaries(st.text("abcd"), VALUES, max_size=4), max_size=12)
FIRST = BatchHeader(source="/s", producer="p", epoch=5, sequence=7, count=1)


@given(NAMES, NAMES, NUMBERS, NUMBERS, st.integers(1, 100_000))
def test_headers_survive_kafka_and_http(
    source: str, producer: str, epoch: int, sequence: int, count: int
) -> None:
    header = BatchHeader(source, producer, epoch, sequence, count)
    assert BatchHeader.from_headers(header.to_headers()) == header
    assert BatchHeader.from_headers({k.title(): v for k, v in header.to_fields().items()}) == header


def test_a_record_without_our_headers_has_no_place() -> None:
    assert BatchHeader.from_headers([("traceparent", b"00-1")]) is None


@pytest.mark.parametrize("name", HEADERS)
def test_half_a_place_is_refused(name: str) -> None:
    headers = [(key, value) for key, value in FIRST.to_headers() if key != name]
    with pytest.raises(BatchHeaderError, match=name):
        BatchHeader.from_headers(headers)
    with pytest.raises(BatchHeaderError, match="twice"):
        BatchHeader.from_headers([*FIRST.to_headers(), (HEADERS[0], b"/other")])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tl-epoch", b"-1"),
        ("tl-epoch", b"1.0"),
        ("tl-sequence", b"0"),
        ("tl-sequence", b"9223372036854775808"),
        ("tl-count", b"0"),
        ("tl-count", b"100001"),
        ("tl-encoding", b"xml"),
        ("tl-source", b""),
        ("tl-source", b"\xff"),
        ("tl-producer", b"x" * 201),
        ("tl-producer", b"a\r\nb"),
    ],
)
def test_a_header_out_of_range_is_refused_by_name(name: str, value: bytes) -> None:
    headers = [(key, value if key == name else kept) for key, kept in FIRST.to_headers()]
    with pytest.raises(BatchHeaderError, match=name):
        BatchHeader.from_headers(headers)


def test_every_encoding_names_its_media_type() -> None:
    assert ENCODINGS["ndjson.v1"] == "application/x-ndjson"


@given(EVENTS)
def test_events_survive_ndjson(events: list[dict[str, Any]]) -> None:
    body = b"".join(encode_event(event) for event in events)
    assert [decode_line(line) for line in iter_lines(body)] == events


@given(EVENTS)
def test_the_same_event_gives_the_same_bytes_in_any_key_order(events: list[dict[str, Any]]) -> None:
    for event in events:
        assert encode_event(dict(reversed(event.items()))) == encode_event(event)


@given(EVENTS, st.integers(60, 400))
def test_splitting_keeps_every_event_in_order_under_the_limit(
    events: list[dict[str, Any]], limit: int
) -> None:
    fitting = [event for event in events if len(encode_event(event)) <= limit]
    parts = list(split_events(fitting, max_bytes=limit))
    assert all(len(body) <= limit for body, _ in parts)
    assert [len(list(iter_lines(body))) for body, _ in parts] == [count for _, count in parts]
    lines = [decode_line(line) for body, _ in parts for line in iter_lines(body)]
    assert lines == fitting


@given(EVENTS)
def test_batched_events_take_their_place_as_id(events: list[dict[str, Any]]) -> None:
    batches = list(batch_events(events, first=FIRST, max_bytes=2_000))
    assert [batch.header.sequence for batch in batches] == list(range(7, 7 + len(batches)))
    for batch in batches:
        check_places(batch)
    assert sum(batch.header.count for batch in batches) == len(events)


def check_places(batch: Batch) -> None:
    lines = [decode_line(line) for line in iter_lines(batch.body)]
    sequence = batch.header.sequence
    assert len(lines) == batch.header.count
    for ordinal, line in enumerate(lines):
        assert line["id"] == ordinal_id(epoch=5, sequence=sequence, ordinal=ordinal)
        assert line["source"] == "/s"


def test_an_event_larger_than_a_batch_is_an_error() -> None:
    with pytest.raises(EventTooLargeError, match="limit of 100"):
        list(split_events([{"a": "x" * 100}], max_bytes=100))


@pytest.mark.parametrize("value", [1.5, [1.0], {"deep": [{"er": 0.1}]}])
def test_a_float_never_leaves_the_house(value: object) -> None:
    with pytest.raises(LineError, match="float"):
        encode_event({"a": value})


@pytest.mark.parametrize("line", [b"", b"[1]", b"{", b"\xff{}", b'{"a":NaN}', b"[" * 100_000])
def test_a_line_that_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(LineError):
        decode_line(line)


def test_blank_lines_and_windows_line_ends_are_skipped() -> None:
    assert list(iter_lines(b'{"a":1}\r\n\n  \n{"a":2}')) == [b'{"a":1}', b'{"a":2}']


def test_encoded_lines_are_plain_json() -> None:
    assert json.loads(encode_event({"b": 1, "a": "é"})) == {"a": "é", "b": 1}
