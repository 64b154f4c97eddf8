"""What a collector sends is the smaller of two encodings, and always the whole batch."""

from typing import Any

from collectors.compact import compact
from ledger.wire.batch import COLUMNAR, NDJSON, Batch, BatchHeader
from ledger.wire.ndjson import decode_line, iter_lines
from tests.support.encoded import decode_columnar, encode_events
from tests.wire.samples import energy_event


def batch(events: list[dict[str, Any]]) -> Batch:
    placed = [event | {"id": f"1.1.{n}", "source": "gpu"} for n, event in enumerate(events)]
    return Batch(BatchHeader("gpu", "gpu", 1, 1, len(events)), encode_events(placed))


def test_many_events_go_as_columns_in_their_place() -> None:
    lines = batch([energy_event(energy_mj=10**9 + n) for n in range(200)])
    columns = compact(lines)
    assert columns.header.encoding == COLUMNAR
    assert (columns.header.sequence, columns.header.count) == (1, 200)
    assert len(columns.body) * 4 < len(lines.body)
    sent = [decode_line(line) for line in iter_lines(lines.body)]
    found = decode_columnar(columns.body, columns.header)
    assert [one["data"]["energy_mj"] for one in found] == [o["data"]["energy_mj"] for o in sent]
    assert [one["id"] for one in found] == [one["id"] for one in sent]


def test_what_would_grow_stays_as_it_is() -> None:
    lines = batch([energy_event()])
    assert compact(lines) is lines


def test_what_columns_cannot_hold_goes_as_lines() -> None:
    lines = batch([energy_event() for _ in range(100)])
    broken = Batch(lines.header, lines.body.replace(b'"epoch"', b'"x":0.5,"epoch"', 1))
    assert compact(broken) is broken
    assert compact(broken).header.encoding == NDJSON
    assert compact(compact(lines)) == compact(lines)
