"""The compiled reader of many lines agrees with the strict decoder, row by row."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ledger.domain.metering.columns import NAMES, energy_frame, usage_frame
from ledger.domain.metering.decode import Reject, decode_items
from ledger.domain.metering.fast import read_shaped
from ledger.domain.metering.items import split_records
from ledger.domain.metering.ndjson.shape import learn, match
from ledger.domain.metering.parts import frames_of
from ledger.domain.metering.record import Record
from ledger.domain.metering.structs import CountersEvent, EnergyEvent
from ledger.wire.batch import BatchHeader
from ledger.wire.limits import ENERGY
from tests.domain.ingest.test_decode import SAMPLES, VALUES, places
from tests.wire.samples import usage_event

LINES = 20


def read(lines: list[bytes], header: BatchHeader | None = None) -> tuple[dict[str, Any], set[int]]:
    """The frames of usage and of energy that were read as columns, and the rows that were left."""
    items = split_records([Record(b"\n".join(lines), header)], body_bytes_max=10**9)
    shaped = read_shaped(items, items.readable())
    frames: dict[str, list[pl.DataFrame]] = {"usage": [], "energy": []}
    for kind, frame in frames_of(shaped.parts):
        frames["energy" if kind == ENERGY else "usage"].append(frame)
    return frames, set(shaped.rest.tolist())


def assert_as_strict(lines: list[bytes]) -> int:
    """Every row that was read equals what the strict decoder reads; returns how many were."""
    frames, left = read(lines)
    strict = decode_items(lines)
    read_rows = 0
    for kind, parts in frames.items():
        for part in parts:
            rows = part["row"].to_list()
            assert not left & set(rows)
            events = [strict[row] for row in rows]
            assert not [one for one in events if isinstance(one, Reject | CountersEvent)]
            assert all(isinstance(one, EnergyEvent) == (kind == "energy") for one in events)
            build: Any = energy_frame if kind == "energy" else usage_frame
            wanted = build(events, rows)
            same = [name for name in wanted.columns if name != NAMES]
            assert_frame_equal(part.select(same), wanted.select(same))
            read_rows += len(rows)
    return read_rows


@st.composite
def bent_lines(draw: st.DrawFn) -> list[bytes]:
    """Many lines of one sample, some of them with one value changed."""
    sample = draw(st.sampled_from(SAMPLES))
    path = draw(st.sampled_from(places(sample)))
    lines = []
    for n in range(LINES):
        event = json.loads(json.dumps(sample)) | {"id": f"e-{n}"}
        if draw(st.booleans()):
            holder: Any = event
            for name in path[:-1]:
                holder = holder[name]
            holder[path[-1]] = draw(VALUES)
        lines.append(json.dumps(event, ensure_ascii=draw(st.booleans())).encode("utf-8", "replace"))
    return lines


@settings()  # the first call compiles
@given(bent_lines())
def test_what_is_read_as_columns_is_what_the_strict_decoder_reads(lines: list[bytes]) -> None:
    assert_as_strict(lines)


@given(st.integers(0, 600), st.binary(min_size=1, max_size=3), st.integers(0, LINES - 1))
def test_bytes_out_of_place_are_left_to_the_strict_decoder(
    at: int, octets: bytes, line: int
) -> None:
    lines = [json.dumps(usage_event() | {"id": f"e-{n}"}).encode() for n in range(LINES)]
    bent = lines[line]
    lines[line] = bent[: at % len(bent)] + octets.replace(b"\n", b"") + bent[at % len(bent) + 1 :]
    if lines[line].strip():
        assert assert_as_strict(lines) >= LINES - 1


def test_lines_of_one_shape_are_all_read() -> None:
    lines = [
        json.dumps(usage_event(requests=n + 1, project_id=f"p{n}") | {"id": f"e{n}"}).encode()
        for n in range(500)
    ]
    assert assert_as_strict(lines) == 500


def test_texts_keep_their_numbers_from_block_to_block() -> None:
    # More lines than one block has, more distinct texts than are read one by one, and two shapes.
    projects = [f"é{n % 3_300}" for n in range(4_000)]
    lines = [
        json.dumps(
            usage_event(project_id=one, stream=n % 3 == 0) | {"id": f"e{n}"}, ensure_ascii=False
        ).encode()
        for n, one in enumerate(projects)
    ]
    assert assert_as_strict(lines) == 4_000
    items = split_records([Record(b"\n".join(lines), None)], body_bytes_max=10**9)
    shape = learn(lines[0])
    assert shape is not None
    matched = match(shape, items.octets, items.words, items.starts, items.ends)
    paths = [slot.path for slot in shape.slots]
    texts = matched.texts(items.octets, paths.index(("data", "project_id")))
    mine = projects[::3]
    there = texts.values.to_list()
    assert there == list(dict.fromkeys(mine)), "each stands once, by first appearance"
    assert [there[code] for code in texts.codes] == mine


def test_shapes_may_be_mixed() -> None:
    lines = [
        json.dumps(usage_event(stream=[None, True, False][n % 3]) | {"id": f"e{n}"}).encode()
        for n in range(300)
    ]
    frames, left = read(lines)
    assert [part.height for part in frames["usage"]] == [300]
    assert left == set()


@pytest.mark.parametrize(
    ("place", "source"), [("1.7.3", "other"), ("1.7.4", "gw"), ("1.7.03", "gw"), ("1.8.3", "gw")]
)
def test_a_place_or_source_that_is_not_the_batch_s_is_left(place: str, source: str) -> None:
    events = [usage_event() | {"id": f"1.7.{n}", "source": "gw"} for n in range(LINES)]
    events[3] |= {"id": place, "source": source}
    lines = [json.dumps(event).encode() for event in events]
    frames, left = read(lines, BatchHeader("gw", "p", 1, 7, LINES))
    assert left == {3}
    assert frames["usage"][0].height == LINES - 1


TIMES = (
    *("2026-08-06T06:31:12Z", "2026-08-06T06:31:12.4Z", "2026-08-06T06:31:12.418Z"),
    *("2026-08-06T06:31:12.418123Z", "2026-08-06T06:31:12.4181239Z", "2026-08-06T06:31:12.Z"),
    *("2026-08-06T06:31:12.418+00:00", "2026-08-06T06:31:12.418+01:00", "2026-08-06T24:00:00Z"),
    *("2024-02-29T06:31:12Z", "2026-02-29T06:31:12.418Z", "2026-08-06T23:59:60Z", "2026-08-06"),
    *("2026-08-06t06:31:12.418Z", "2026-08-06 06:31:12.418Z", "2026-08-06T06:31:12.418z", ""),
    *("2026-08-06T06;31:12.418Z", "2026-08-06T06:31:1:.418Z", "2026-08-0\x00T06:31:12.418Z"),
    *("0000-00-00T00:00:00.000Z", "\x00" * 11 + "00:00:00.000Z", "2026-08-06T06:31:12.418Zx"),
)
NUMBERS = (
    *("0", "7", "10", "1234567", "12345678", "123456789", "999999999999999999"),
    *("9999999999999999999", "007", "00", "-1", "1.0", "1e3", "", "1x", "0x10", "12345678x"),
)


@pytest.mark.parametrize("value", TIMES)
def test_a_time_is_read_as_the_strict_decoder_reads_it(value: str) -> None:
    assert_bent_as_strict(b"2026-08-06T06:31:12.418Z", value.encode())


@pytest.mark.parametrize("value", NUMBERS)
def test_a_number_is_read_as_the_strict_decoder_reads_it(value: str) -> None:
    assert_bent_as_strict(b"1011", value.encode())


# As long as a name may be, in characters of one octet and of two; a character more; nothing.
NAMES_OF_LENGTHS = ("a" * 256, "é" * 256, "a" * 257, "é" * 257, "é" * 129, "", "é")


@pytest.mark.parametrize("value", NAMES_OF_LENGTHS)
def test_a_name_is_read_as_the_strict_decoder_reads_it(value: str) -> None:
    assert_bent_as_strict(b'"pod-uid-3c1"', f'"{value}"'.encode())


def assert_bent_as_strict(old: bytes, new: bytes) -> None:
    """One line of many has another value; the others are read as columns."""
    event = usage_event(requests=1011) | {"time": "2026-08-06T06:31:12.418Z"}
    lines = [json.dumps(event | {"id": f"e-{n}"}).encode() for n in range(LINES)]
    assert old in lines[7]
    lines[7] = lines[7].replace(old, new, 1)
    assert assert_as_strict(lines) >= LINES - 1
