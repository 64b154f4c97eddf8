"""An event that is written again from what was read of it says the same."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from ledger.domain.metering.bodies import let_bodies_go
from ledger.domain.metering.offered import offered_lines
from ledger.domain.metering.prepare import Prepared, prepare
from ledger.domain.metering.record import Record
from tests.domain.ingest.test_decode import SAMPLES, bent_events

NOW = datetime(2026, 8, 7, tzinfo=UTC)


def prepared(event: dict[str, Any]) -> Prepared:
    return prepare([Record(json.dumps(event).encode())], now=NOW, body_bytes_max=10**7)


def assert_says_the_same(event: dict[str, Any]) -> None:
    found = prepared(event)
    if found.rejects:
        return
    (line,) = offered_lines(found, [0])
    again = prepared(json.loads(line))
    assert again.rejects == {}
    assert again.digests([0]) == found.digests([0])
    assert again.ids([0]) == found.ids([0])


def test_the_fullest_of_each_kind_says_the_same() -> None:
    for event in SAMPLES:
        assert_says_the_same(event)


@given(bent_events())
def test_any_event_says_the_same(event: dict[str, Any]) -> None:
    assert_says_the_same(event)


def test_an_end_user_is_left_out() -> None:
    event = json.loads(json.dumps(SAMPLES[0]))
    event["data"]["end_user_id"] = "ann@example.com"
    assert "ann" not in offered_lines(prepared(event), [0])[0]


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_no_event_is_kept_as_text_whether_its_record_came_alone_or_not(alone: bool) -> None:
    event = json.dumps(SAMPLES[0]).encode()
    records = [Record(event + b"\nno event\n")] + [Record(event)] * (not alone)
    found = prepare(records, now=NOW, body_bytes_max=10**7)
    let_bodies_go(found, None)
    assert offered_lines(found, [1]) == ["no event"]
