"""A columnar batch says what the same events say as NDJSON, the bad ones included."""

import json
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ledger.domain.metering.columnar import read_columnar
from ledger.domain.metering.columns import NAMES
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.names import WHAT, WHO
from ledger.domain.metering.prepare import Prepared, prepare
from ledger.domain.metering.record import Record
from ledger.wire.batch import COLUMNAR, NDJSON, BatchHeader
from ledger.wire.columnar import read_columns
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.errors import LineError
from ledger.wire.ndjson import refuse_floats
from tests.domain.ingest.test_decode import NOW, SAMPLES, VALUES, places
from tests.support.encoded import encode_events
from tests.wire.samples import energy_event, usage_event

SIZE = 6


def header(encoding: str, count: int) -> BatchHeader:
    return BatchHeader("gw", "p", 3, 9, count, encoding)


def placed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event | {"id": f"3.9.{n}", "source": "gw"} for n, event in enumerate(events)]


def both(events: list[dict[str, Any]]) -> tuple[Prepared, Prepared]:
    """The same events from NDJSON and from columns."""
    lines = encode_events(events)
    columns = encode_columnar(events, header(COLUMNAR, len(events)))
    records = [
        Record(lines, header(NDJSON, len(events))),
        Record(columns, header(COLUMNAR, len(events))),
    ]
    found = [prepare([one], now=NOW, body_bytes_max=10**7) for one in records]
    return found[0], found[1]


def assert_named(usage: pl.DataFrame) -> None:
    """Rows with one number in `names` name the same who, what and where."""
    named = usage.select(NAMES, *WHO, *WHAT).unique()
    assert named[NAMES].is_unique().all()


def assert_same(events: list[dict[str, Any]]) -> Prepared:
    by_line, by_column = both(events)
    for read in (by_line, by_column):
        assert_named(read.usage)
    assert_frame_equal(by_line.usage.drop("id", NAMES), by_column.usage.drop("id", NAMES))
    assert_frame_equal(by_line.energy.drop("id"), by_column.energy.drop("id"))
    assert by_line.counters.drop("id").rows() == by_column.counters.drop("id").rows()
    reasons = [
        {row: one.reason for row, one in found.rejects.items()} for found in (by_line, by_column)
    ]
    assert reasons[0] == reasons[1]
    assert by_line.batches == by_column.batches
    return by_column


@st.composite
def bent_events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of all types, some of them with one value changed, none with a float."""
    events = []
    for _ in range(SIZE):
        event = json.loads(json.dumps(draw(st.sampled_from(SAMPLES))))
        if draw(st.booleans()):
            *parents, leaf = draw(st.sampled_from(places(event)))
            holder = event
            for name in parents:
                holder = holder[name]
            holder[leaf] = draw(VALUES)
        events.append(event)
    return events


@given(bent_events())
def test_both_encodings_are_read_alike(events: list[dict[str, Any]]) -> None:
    try:
        refuse_floats(events, "events")
    except LineError:
        return
    assert_same(placed([known_only(event) for event in events]))


def known_only(value: Any) -> Any:
    """Without nulls: columns have no place for them, and a field that may be null may be left out.

    One that may not is refused as null in a line, and was never in the columns.
    """
    if isinstance(value, dict):
        return {name: known_only(item) for name, item in value.items() if item is not None}
    return value


def test_a_batch_of_one_shape_needs_no_strict_decoder() -> None:
    events = placed([usage_event(project_id=f"p{n % 3}", requests=n + 1) for n in range(500)])
    body = encode_columnar(events, header(COLUMNAR, 500))
    read = read_columnar(read_columns(body), header(COLUMNAR, 500), 0)
    assert read.rest.size == 0
    assert sum(part.rows.size for part in read.parts) == 500
    assert assert_same(events).usage.height == 500


def test_one_bad_event_costs_only_itself() -> None:
    events = [usage_event(requests=n + 1) for n in range(100)] + [energy_event()]
    events[7]["data"]["usage"]["input"]["uncached"] = -1
    events[8]["data"]["status"] = "no such"
    events[9]["data"] = {}
    events[10]["time"] = "yesterday"
    events[11]["data"]["tags"] = {"a": 1}
    found = assert_same(placed(events))
    assert sorted(found.rejects) == [7, 8, 9, 10, 11]
    assert found.usage.height == 95
    assert found.energy.height == 1


def test_another_source_or_a_future_event_is_refused_alike() -> None:
    events = placed([usage_event() for _ in range(5)])
    events[2]["source"] = "other"
    events[3]["time"] = "2027-01-01T00:00:00Z"
    found = assert_same(events)
    assert {row: one.reason for row, one in found.rejects.items()} == {
        2: Reason.WRONG_SOURCE,
        3: Reason.FUTURE_TIME,
    }


def test_bytes_that_are_no_batch_are_one_item() -> None:
    for body in (b"", b"TLC1", b"{}\n{}", encode_columnar(placed([usage_event()]), None)[:-1]):
        record = Record(body, header(COLUMNAR, 1))
        found = prepare([record], now=NOW, body_bytes_max=10**7)
        assert [one.reason for one in found.rejects.values()] == [Reason.BAD_COLUMNS]


def test_a_count_beside_another_number_of_events_is_refused() -> None:
    events = placed([usage_event()])
    body = encode_columnar(events, header(COLUMNAR, 1))
    found = prepare([Record(body, header(COLUMNAR, 2))], now=NOW, body_bytes_max=10**7)
    assert [one.reason for one in found.rejects.values()] == [Reason.COUNT_MISMATCH]


def test_a_body_that_was_refused_whole_takes_no_place() -> None:
    bad = [
        Record(b"nothing of the kind", header(COLUMNAR, 1)),
        Record(encode_events(placed([usage_event(), usage_event()])), header(NDJSON, 1)),
        Record(b"x" * 101, header(NDJSON, 1)),
    ]
    for record in bad:
        found = prepare([record], now=NOW, body_bytes_max=100 if record is bad[2] else 10**7)
        assert len(found.rejects) == 1
        assert found.batches == {}


def test_parts_are_held_to_their_attempt_in_columns_too() -> None:
    parts = [{"input": {"uncached": 1}}, {"model": "b", "input": {"uncached": 1}}]
    usage = {"input": {"uncached": 2}, "parts": parts}
    events = [usage_event(served_model=model, usage=usage) for model in ("a", "b")]
    found = assert_same(placed([*events, usage_event(served_model="a")]))
    assert {row: one.reason for row, one in found.rejects.items()} == {0: Reason.SEVERAL_MODELS}
