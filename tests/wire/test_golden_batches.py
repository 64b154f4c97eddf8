"""The bytes of both encodings stay what they are: what yesterday's collector sent is read."""

import copy
import os
from pathlib import Path
from typing import Any

import pytest

from ledger.wire.batch import COLUMNAR, NDJSON, BatchHeader
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.ndjson import decode_line, iter_lines
from ledger.wire.parse import parse_event
from tests.support.encoded import decode_columnar, encode_events
from tests.wire.samples import counters_event, energy_event, gap_event, usage_event

FOLDER = Path(__file__).parent.parent / "golden" / "batches"
SOURCE, EPOCH, SEQUENCE = "/hosts/gpu-01", 7, 3


def events(kind: str) -> list[dict[str, Any]]:
    """Three events of a kind, placed in their batch."""
    made = {
        "usage": [usage_event(requests=n + 1, project_id=f"prj-{n % 2}") for n in range(3)],
        "energy": [energy_event(energy_mj=10**12 + n) for n in range(3)],
        "counters": [counters_event() for _ in range(3)],
        "gaps": [gap_event() for _ in range(3)],
    }[kind]
    places = [{"id": f"{EPOCH}.{SEQUENCE}.{n}", "source": SOURCE} for n in range(3)]
    return [copy.deepcopy(one) | place for one, place in zip(made, places, strict=True)]


def header(encoding: str) -> BatchHeader:
    return BatchHeader(SOURCE, "gpu-01", EPOCH, SEQUENCE, 3, encoding)


@pytest.mark.parametrize("kind", ["usage", "energy", "counters", "gaps"])
def test_golden_batches_are_written_and_read_as_ever(kind: str) -> None:
    lines, columns = encode_events(events(kind)), encode_columnar(events(kind), header(COLUMNAR))
    files = {FOLDER / f"{kind}.ndjson": lines, FOLDER / f"{kind}.columnar": columns}
    if os.environ.get("TOKENLEDGER_WRITE_GOLDEN"):
        for path, body in files.items():
            path.write_bytes(body)
    for path, body in files.items():
        assert path.read_bytes() == body
    by_line = [decode_line(line) for line in iter_lines((FOLDER / f"{kind}.ndjson").read_bytes())]
    golden = (FOLDER / f"{kind}.columnar").read_bytes()
    by_column = decode_columnar(golden, header(COLUMNAR))
    assert [parse_event(one) for one in by_line] == [parse_event(one) for one in by_column]
    assert header(NDJSON).count == len(by_line)
