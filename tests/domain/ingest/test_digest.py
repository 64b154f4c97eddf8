"""A digest says what an event says, not how it was written down."""

import json
from typing import Any
from uuid import UUID

import polars as pl

from ledger.domain.arrays import WORD
from ledger.domain.metering.contents import contents
from ledger.domain.metering.prepare import prepare
from ledger.domain.metering.record import Record
from ledger.domain.metering.texts import ROWS_AT_ONCE, digest_texts
from ledger.wire.batch import BatchHeader
from tests.domain.ingest.test_decode import NOW, prepared
from tests.wire.samples import counters_event, energy_event, usage_event


def digest_of(event: dict[str, Any]) -> UUID:
    return prepared(event).digests([0])[0]


def test_notation_and_transport_leave_no_trace() -> None:
    event = usage_event()
    turned = json.loads(json.dumps(event))
    turned["data"] = dict(reversed(turned["data"].items()))
    turned |= {
        "time": "2026-08-06T08:31:12.4180009+02:00",
        "recordedtime": "2026-08-06T09:00:00Z",
        "traceparent": "00-1",
        "id": "another",
        "source": "/another",
    }
    turned["data"]["unheard_of"] = [1.5]
    turned["data"]["adapter"] = "acme-tone-v2"
    assert digest_of(turned) == digest_of(event)


def test_every_part_of_the_content_counts() -> None:
    changes: list[dict[str, Any]] = [
        {"customer_id": "x"},
        {"project_id": "x"},
        {"adapter": None},
        {"service_tier_served": "batch"},
        {"requests": 2},
        {"started_at": None},
        {"status": "ok"},
        {"stream": True},
        {"region": "x"},
        {"usage": usage_event()["data"]["usage"] | {"complete": None}},
        {"usage": usage_event()["data"]["usage"] | {"output": {"visible": 187, "reasoning": 0}}},
        {"engine": {"instance": "other"}},
        {"agent": {"id": "agt_triage", "run_id": "other"}},
        {"attempt": 7},
        {"retry_of": "x"},
        {"hedged": True},
        {"fallback_from": "x"},
    ]
    digests = {digest_of(usage_event(**change)) for change in changes}
    assert len(digests | {digest_of(usage_event())}) == len(changes) + 1


def test_what_says_the_same_as_its_absence_leaves_no_trace() -> None:
    usual, *others = [
        next(contents("usage", prepared(usage_event(**said)).decoded["usage"]).each())
        for said in ({"requests": 1}, {"requests": 2}, {"started_at": None})
    ]
    assert [one.nbytes - usual.nbytes for one in others] == [WORD, -WORD]


def test_a_value_counts_for_its_own_field_only() -> None:
    usage = usage_event()["data"]["usage"]
    sides = [{"cache_read": 7, "cache_write": 0}, {"cache_read": 0, "cache_write": 7}]
    sides += [{"cache_read": 7}, {"cache_write": 7}]
    events = [usage_event(usage=usage | {"input": {"uncached": 3} | one}) for one in sides]
    names = [{"project_id": "xy", "region": "z"}, {"project_id": "x", "region": "yz"}]
    events += [usage_event(**one) for one in names]
    assert len({digest_of(one) for one in events}) == len(events)


def test_an_end_user_cannot_be_guessed_from_a_digest() -> None:
    assert digest_of(usage_event(end_user_id="mail@example.org")) == digest_of(usage_event())


def test_digests_stay_as_they_were() -> None:
    # Stored digests outlive every version: else old events would conflict with themselves.
    found = [digest_of(one) for one in (usage_event(), energy_event(), counters_event())]
    assert [str(one) for one in found] == GOLDEN


def batch_of(*events: Any) -> UUID:
    header = BatchHeader("gw", "p", 1, 1, len(events))
    placed = [
        one | {"id": f"1.1.{n}", "source": "gw"} if isinstance(one, dict) else one
        for n, one in enumerate(events)
    ]
    body = b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in placed)
    return prepare([Record(body, header)], now=NOW, body_bytes_max=10**7).batches[0]


def test_a_batch_is_its_events_in_order() -> None:
    one, other, energy = usage_event(), usage_event(project_id="x"), energy_event()
    assert batch_of(one, other) != batch_of(other, one)
    assert batch_of(one, other) == batch_of(dict(reversed(one.items())), other)
    assert batch_of(one) != batch_of(one, one)
    assert batch_of(energy, one) != batch_of(one, energy)
    assert batch_of(one, b"{nothing") != batch_of(b"{nothing", one)
    assert batch_of(one, b"{nothing") != batch_of(one, b"{something")


def test_what_stands_in_which_row_is_part_of_a_batch() -> None:
    with_it, without = usage_event(), usage_event(project_id=None)
    assert batch_of(with_it, without) != batch_of(without, with_it)


def test_a_value_that_all_rows_say_counts_for_each_of_them() -> None:
    one, two = usage_event(revision=1), usage_event(queue_ms=1)
    batches = [(one,), (one, one), (one, two), (two, one), (two, two), (two, two, two)]
    assert len({batch_of(*events) for events in batches}) == len(batches)


def test_a_batch_says_what_it_says_whatever_stands_beside_it() -> None:
    header = BatchHeader("gw", "p", 1, 1, 2)
    alone = [usage_event(id=f"1.1.{n}", source="gw", queue_ms=None) for n in range(2)]
    beside = [usage_event(id=f"{n}", source="other", queue_ms=n) for n in range(3)]
    bodies = ["\n".join(map(json.dumps, events)).encode() for events in (alone, beside)]
    records = [Record(bodies[0], header), Record(bodies[1])]
    (only,), (first, *_) = (
        list(prepare(some, now=NOW, body_bytes_max=10**7).batches.values())
        for some in (records[:1], records)
    )
    assert only == first


def test_a_batch_of_many_lines_has_the_digest_of_the_strict_decoder() -> None:
    # A blank in one line makes it another shape, the number of lines a compiled read.
    events = [usage_event(project_id=f"project-{n % 3}") for n in range(200)]
    spaced = [
        json.dumps(e | {"id": f"1.1.{n}", "source": "gw"}).encode() for n, e in enumerate(events)
    ]
    odd = [
        line.replace(b'"specversion"', b' "specversion"', 1) if n % 50 == 0 else line
        for n, line in enumerate(spaced)
    ]
    escaped = [line.replace(b'"project-1"', b'"project\\u002d1"') for line in odd]
    assert batch_of(*spaced) == batch_of(*odd) == batch_of(*escaped) == batch_of(*events)


GOLDEN = [
    "0185b4ab-eba1-0329-691d-dd9332b14ce9",
    "01039833-4ab9-d0d0-8c6d-e4c584bd34f2",
    "013b105a-257f-bda8-b5a6-6dc93ed73e54",
]


def test_texts_of_many_rows_have_the_digests_that_each_has_by_itself() -> None:
    tags = {"who": "w", "what": "a"}
    rows = 2 * ROWS_AT_ONCE + 1
    # One that says the same in all rows of a part, and one of which some say nothing.
    who = [None if n % 7 == 0 else f"c-{n % 5_000}" for n in range(rows)]
    texts = pl.DataFrame({"who": who, "what": [f"m-{n // ROWS_AT_ONCE}" for n in range(rows)]})
    many = digest_texts("names", texts, tags, rows)
    assert many.shape == (rows, 2)
    for n in (0, 1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE):
        assert (digest_texts("names", texts[n : n + 1], tags, 1)[0] == many[n]).all()
