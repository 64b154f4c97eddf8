"""columnar.v1 gives back what was written, and refuses anything damaged with a typed error."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.wire.batch import COLUMNAR, BatchHeader
from ledger.wire.columnar import read_columns
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.errors import ColumnarError, LineError
from tests.support.encoded import decode_columnar, encode_events
from tests.support.examples import at_depth

FIRST = BatchHeader("gw", "gw/1", 7, 1, 1, COLUMNAR)
NAMES = st.sampled_from(["a", "b", "c.d", "", "time", "data"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text("aé€😀\0 ", max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "id", "data"]), VALUES), min_size=1, max_size=12
)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


def gateway_event(index: int) -> dict[str, Any]:
    usage = {"input": {"uncached": 100 + index % 900, "cached": 0}, "output": {"text": index % 700}}
    data = {"model": f"m{index % 3}", "stream": True, "usage": usage, "tags": {"team": "search"}}
    time = f"2026-08-06T06:31:{index % 60:02}.418000Z"
    return {"specversion": "1.0", "type": "usage", "time": time, "data": data}


@settings(max_examples=at_depth(60))
@given(EVENTS)
def test_what_is_written_is_read_back_without_its_nulls(events: list[dict[str, Any]]) -> None:
    assert decode_columnar(encode_columnar(events, None), None) == without_nulls_all(events)


def without_nulls_all(events: list[dict[str, Any]]) -> list[Any]:
    return [without_nulls(event) for event in events]


def test_a_batch_leaves_out_ids_that_are_its_places_and_is_small() -> None:
    placed = [gateway_event(n) | {"id": f"7.1.{n}", "source": "gw"} for n in range(1000)]
    body = encode_columnar(placed, FIRST)
    assert read_columns(body).ids_are_ordinals
    assert decode_columnar(body, FIRST) == placed
    assert len(body) * 4 < len(encode_events(placed))


def test_every_truncation_is_refused() -> None:
    body = encode_columnar([gateway_event(i) for i in range(9)], None)
    for end in range(len(body)):
        with pytest.raises(ColumnarError):
            read_columns(body[:end])


@settings(max_examples=at_depth(150))
@given(st.data())
def test_a_flipped_byte_decodes_or_is_refused(data: st.DataObject) -> None:
    body = bytearray(encode_columnar([gateway_event(i) for i in range(9)], None))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_columnar(bytes(body), FIRST)
    except ColumnarError:
        return
    assert decoded


def test_a_float_is_refused() -> None:
    with pytest.raises(LineError):
        encode_columnar([{"a": 0.5}], None)
