"""Whatever a sender writes: every item has one fate, neighbours are counted, nothing is raised."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.domain.metering.fact import Fate
from ledger.domain.metering.record import Record
from ledger.store.queries import Connection
from ledger.wire.batch import BatchHeader
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.errors import WireError
from tests.support.database import Database, empty
from tests.support.examples import at_depth
from tests.support.hostile import bent_events, hostile_lines
from tests.support.usage import Gate, attempt, fates, keyed, windows, windows_of_facts

pytestmark = pytest.mark.timeout(300)
HOSTILE = settings(
    max_examples=at_depth(20),
    suppress_health_check=list(HealthCheck),
)
EMPTY = """usage_fact_20260806, gpu_reading_20260806, counter_reading_20260806, receipt,
    ingest_batch, event_key, correction, fate_change, conflict, quarantine, quarantine_raw,
    quarantine_replay, usage_delta, activity, activity_mask, provider_claim, usage_key,
    engine_key, source"""
MANY = 70


def _nul_in_a_name(field: str) -> bytes:
    event = attempt("poison")
    event["data"][field] = {"a\0b": "x"}
    return json.dumps(event).encode()


async def _assert_harmless(
    connection: Connection, database: Database, hostile: Sequence[Record]
) -> None:
    await empty(database, EMPTY)
    gate = Gate(connection)
    good = [attempt(f"good{n}", minute=n % 60) for n in range(MANY)]
    found = await gate.send(keyed(*good[:1]), *hostile, keyed(*good[1:]))
    assert [outcome.counts[Fate.COUNTED] for outcome in (found[0], found[-1])] == [1, MANY - 1]
    received = 0
    for outcome in found:
        assert sum(outcome.tally) == outcome.received == len(list(outcome.items()))
        received += outcome.received
    stored = await fates(connection)
    assert stored.pop("received") == received == sum(stored.values())
    kept = await connection.fetchval("SELECT count(*) FROM quarantine")
    assert kept == stored.get("quarantined", 0)
    assert await windows(connection) == await windows_of_facts(connection)
    counted = await connection.fetchval(
        "SELECT count(*) FROM usage_fact WHERE event_id LIKE 'good%'"
    )
    assert counted == MANY


@HOSTILE
@given(st.lists(hostile_lines(), min_size=1, max_size=6))
@example([_nul_in_a_name("tags")])
@example([_nul_in_a_name("identity_source")])
async def test_hostile_lines_cost_nobody_else(
    opened: Connection, database: Database, lines: list[bytes]
) -> None:
    each = [Record(line) for line in lines]
    together = Record(b"\n".join(line.replace(b"\n", b" ") for line in lines))
    await _assert_harmless(opened, database, [*each, together])


@HOSTILE
@given(bent_events(), st.integers(0, MANY - 1))
async def test_a_hostile_event_among_many_of_its_shape_costs_only_itself(
    opened: Connection, database: Database, bent: dict[str, Any], at: int
) -> None:
    """In bodies that are read as columns, in both encodings and under a number."""
    events = [attempt(f"other{n}", region="x" * 400) for n in range(MANY)]
    events[at] = bent
    lines = [json.dumps(event, separators=(",", ":")).encode() for event in events]
    records = [Record(b"\n".join(lines))]
    placed = [event | {"id": f"1.1.{n}", "source": "/hosts/a"} for n, event in enumerate(events)]
    lines = [json.dumps(event, separators=(",", ":")).encode() for event in placed]
    header = BatchHeader("/hosts/a", "p1", 1, 1, MANY)
    records.append(Record(b"\n".join(lines), header))
    try:
        body = encode_columnar(placed, header)
    except (WireError, ValueError, OverflowError):
        body = b""
    if body:
        columnar = BatchHeader("/hosts/a", "p1", 1, 2, MANY, "columnar.v1")
        body = encode_columnar([e | {"id": f"1.2.{n}"} for n, e in enumerate(placed)], columnar)
        records.append(Record(body, columnar))
    await _assert_harmless(opened, database, records)
