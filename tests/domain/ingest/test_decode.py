"""The fast decoder agrees with the models of the wire, event by event and field by field."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.metering.fact import Reason
from ledger.domain.metering.lines import split_body
from ledger.domain.metering.prepare import Prepared, prepare
from ledger.domain.metering.record import Record
from ledger.domain.metering.times import micros, parse_times
from ledger.domain.pricing.rate_card import BAND_EDGES, context_band
from ledger.wire.errors import Rfc3339Error, storable
from ledger.wire.events import CorrectionEvent, EnergyEvent, UsageEvent
from ledger.wire.parse import explain, parse_event
from ledger.wire.rfc3339 import parse_rfc3339
from tests.wire.samples import counters_event, energy_event, usage_event

NOW = datetime(2026, 8, 7, tzinfo=UTC)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20_000_000),
    st.sampled_from([2**63 - 1, 2**63, 2**64, 10**30, 10_000_000, 10_000_001, 0, 1, 5408, 187]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "1", "x\0y", "GPU-1", "MIG-1", "1.0", "USD", "ok", "Z" * 257, "ä" * 256]),
    st.sampled_from(
        [
            "2026-08-06T06:31:12Z",
            "2026-08-06t06:31:12.1234567z",
            "2026-08-06T08:31:07.902+02:00",
            "2026-08-06 06:31:08Z",
            "2026-02-30T00:00:00Z",
            "2026-08-06T06:31:60Z",
            "2026-08-06T24:00:00Z",
            "2026-08-06",
        ]
    ),
    st.just([]),
    st.just({}),
    st.just(["a", 1]),
    st.just({"uncached": 3}),
    st.just({"amount": "0.12", "currency": "EUR"}),
    st.just({"amount": "1e-5", "currency": "EUR"}),
)
SAMPLES = [
    usage_event(),
    usage_event(provider_cost={"amount": "0.1", "currency": "EUR"}, tags={"a": "b"}, stream=True),
    usage_event(revision=1, supersedes="x") | {"type": "inference.usage.correction.v1"},
    energy_event(power_mw=3),
    counters_event(),
]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every field, at any depth."""
    found = [at] if at else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*at, key))
    return found


@st.composite
def bent_events(draw: st.DrawFn) -> dict[str, Any]:
    """A good event with up to three fields bent, dropped or added."""
    event: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 3))):
        *path, last = draw(st.sampled_from(places(event)))
        owner: Any = event
        for step in path:
            owner = owner[step]
        if draw(st.booleans()):
            owner[last] = copy.deepcopy(draw(VALUES))
        else:
            owner.pop(last)
    return event


def prepared(*events: Any) -> Prepared:
    """Items of one keyed record, checked."""
    body = "\n".join(json.dumps(event) for event in events).encode()
    return prepare([Record(body)], now=NOW, body_bytes_max=10**7)


@given(bent_events())
def test_an_event_is_accepted_exactly_when_the_model_accepts_it(event: dict[str, Any]) -> None:
    found = prepared(event)
    raw = json.loads(json.dumps(event))
    problems = explain(raw)
    if problems:
        assert found.rejects[0].detail == storable("; ".join(map(str, problems)), 1000)
    elif not found.rejects:
        compare(found, parse_event(raw))
    else:
        assert found.rejects[0].reason in {
            Reason.FUTURE_TIME,
            Reason.PAST_TIME,
            Reason.SPAN_TOO_LONG,
            Reason.INVALID_FIELD,
        }


def compare(found: Prepared, model: object) -> None:
    if isinstance(model, UsageEvent | CorrectionEvent):
        (row,) = found.usage.to_dicts()
        leaves = model.data.usage.leaves()
        counted = row["uncached"] + row["cache_read"] + row["cache_write"]
        assert counted == (leaves.input_tokens or 0)
        assert row["visible"] + row["reasoning"] == (leaves.output_tokens or 0)
        assert row["reasoning"] == (leaves.reasoning or 0)
        assert bool(row["flags"] >> 16 & 7) == leaves.split_unknown
        assert row["time"] == micros(model.time)
        assert row["customer_ref"] == (model.customer_id or "")
        assert row["model"] == (model.data.model or "")
        assert row["requests"] == model.data.requests
    elif isinstance(model, EnergyEvent):
        (row,) = found.energy.to_dicts()
        assert (row["energy_mj"], row["gpu_uuid"]) == (model.data.energy_mj, model.data.gpu_uuid)
    else:
        assert found.counters.height == 1


@pytest.mark.parametrize("value", [1.5, 1.0, "5", True, 10**20, -1])
def test_a_count_is_never_coerced(value: object) -> None:
    event = usage_event()
    event["data"]["usage"]["input"]["uncached"] = value
    found = prepared(event, usage_event() | {"id": "good"})
    assert found.rejects[0].detail.startswith("data.usage.input.uncached: found")
    assert found.usage["id"].to_list() == ["good"]


@given(st.lists(st.text("0123456789-T:.Z+ tz", max_size=30) | st.just("2026-08-06T06:31:12.5Z")))
def test_times_are_read_as_the_wire_reads_them(texts: list[str]) -> None:
    import polars as pl

    def read(text: str) -> int | None:
        try:
            return micros(parse_rfc3339(text))
        except Rfc3339Error:
            return None

    found = parse_times(pl.Series("t", texts, pl.String))
    assert found.to_list() == [read(text) for text in texts]


@given(st.sampled_from(BAND_EDGES), st.integers(-2, 2))
def test_the_band_is_that_of_the_rate_card(edge: int, beside: int) -> None:
    tokens = max(edge + beside, 0)
    event = usage_event()
    event["data"]["usage"] = {"input": {"uncached": tokens + 1}, "context_tokens": tokens}
    assert prepared(event).usage["context_band"].to_list() == [context_band(tokens)]


def test_every_form_of_a_body_holds_the_same_items() -> None:
    events = [usage_event(), energy_event()]
    lines = "\r\n\n".join(json.dumps(event) for event in events).encode()
    array = json.dumps(events, indent=2).encode()
    for body in (lines, array):
        assert [json.loads(item) for item in split_body(body)] == events
    assert [json.loads(item) for item in split_body(json.dumps(events[0], indent=1).encode())] == [
        events[0]
    ]
    assert split_body(b" \n") == []
    assert len(split_body(b'[{"a": 1}, {')) == 1


LEAVES: dict[str, Any] = {"input": {"uncached": 3, "cache_read": 4}, "output": {"visible": 2}}


PARTS: list[dict[str, Any]] = [
    {"kind": "message", "input": {"uncached": 1, "cache_read": 2}, "output": {"visible": 1}},
    {"model": "llama", "input": {"uncached": 1}},
]


@pytest.mark.parametrize("copies", [1, 40])
@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        ({}, None),
        ({"model": "opus"}, Reason.SEVERAL_MODELS),
        ({"output": {"reasoning": 2}}, Reason.PARTS_BEYOND_SIDE),
    ],
)
def test_parts_of_an_attempt_are_of_its_model_and_within_its_tokens(
    bend: dict[str, Any], reason: Reason | None, copies: int
) -> None:
    parts = [PARTS[0], PARTS[1] | bend]
    event = usage_event(served_model="llama", usage=LEAVES | {"parts": parts})
    done = prepared(*(event | {"id": f"e{n}"} for n in range(copies)))
    assert {found.reason for found in done.rejects.values()} == ({reason} if reason else set())
    assert done.usage.height == (0 if reason else copies)


@pytest.mark.parametrize(
    "modality",
    [
        {"input.audio": 5, "input.video": 2, "input.text": 9},
        {"cache_read.audio": 4, "output.audio": 1, "output.image": 1},
    ],
)
def test_kinds_of_content_may_be_all_of_a_side(modality: dict[str, int]) -> None:
    assert prepared(usage_event(usage=LEAVES | {"modality": modality})).usage.height == 1
    of_one_side = {"output": {"visible": 2}, "modality": modality | {"output.image": 0}}
    assert prepared(usage_event(usage=of_one_side)).usage.height == 1


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        ({"type": "inference.usage.v9"}, Reason.UNKNOWN_TYPE),
        ({"specversion": "0.3"}, Reason.INVALID_FIELD),
        ({"time": None}, Reason.MISSING_TIME),
        ({"time": "2026-08-07T00:05:01Z"}, Reason.FUTURE_TIME),
        ({"data": usage_event(started_at="2026-06-01T00:00:00Z")["data"]}, Reason.SPAN_TOO_LONG),
        ({"time": "0001-01-01T00:00:00Z"}, Reason.PAST_TIME),
        ({"time": "2014-12-31T23:59:59.999999Z"}, Reason.PAST_TIME),
        ({"recordedtime": "1970-01-01T00:00:00Z"}, Reason.PAST_TIME),
        ({"recordedtime": "9999-12-31T23:59:59Z"}, Reason.FUTURE_TIME),
        ({"data": usage_event(started_at="0001-01-01T00:00:00Z")["data"]}, Reason.PAST_TIME),
        ({"time": "0001-01-01T00:00:00+00:01"}, Reason.INVALID_FIELD),
        ({"time": "9999-12-31T23:59:59-00:01"}, Reason.INVALID_FIELD),
        ({"data": usage_event(usage={})["data"]}, Reason.NO_COUNTS),
        ({"data": usage_event(usage={"input_total": -1})["data"]}, Reason.NEGATIVE_COUNT),
        ({"data": usage_event(usage={"input_total": 10_000_001})["data"]}, Reason.ABSURD_COUNT),
        *(
            (
                {"data": usage_event(usage=LEAVES | {"modality": modality})["data"]},
                Reason.MODALITY_BEYOND_SIDE,
            )
            for modality in (
                {"input.audio": 5, "input.video": 3},
                {"cache_read.audio": 5},
                {"output.audio": 3},
            )
        ),
        (
            {"data": usage_event(usage={"input": {"uncached": 3}, "input_total": 4})["data"]},
            Reason.SUM_MISMATCH,
        ),
        (
            {"data": usage_event(ended_at="2026-08-06T06:31:08.1Z")["data"]},
            Reason.TIMES_UNORDERED,
        ),
        ({"time": "2026-08-06T07:31:12.418Z"}, Reason.TIMES_APART),
        ({"time": "2026-08-06T05:31:12.418Z"}, Reason.TIMES_APART),
        (
            {
                "time": "2026-08-06T05:00:00Z",
                "data": usage_event(ended_at=None, first_token_at=None)["data"],
            },
            Reason.TIMES_APART,
        ),
        (
            {
                "data": usage_event(
                    usage={"input_total": 4, "source": "char_estimate", "complete": True}
                )["data"]
            },
            Reason.ESTIMATE_COMPLETE,
        ),
    ],
)
def test_each_rule_has_a_reason_of_its_own(bend: dict[str, Any], reason: Reason) -> None:
    assert prepared(usage_event() | bend).rejects[0].reason is reason


@pytest.mark.parametrize(
    "said", [{"supersedes": "a"}, {"supersedes_source": "/a"}, {"revision": 1}]
)
def test_usage_that_says_it_replaces_other_usage_has_to_be_a_correction(
    said: dict[str, Any],
) -> None:
    for events in ([usage_event(**said)], [usage_event(**said), usage_event() | {"id": "plain"}]):
        (found,) = prepared(*events).rejects.values()
        assert found.reason is Reason.INVALID_FIELD
        assert "inference.usage.correction.v1" in found.detail


def test_the_end_of_an_attempt_may_be_written_down_by_two_clocks() -> None:
    for time in ("2026-08-06T07:31:12.417999Z", "2026-08-06T05:31:12.418001Z"):
        assert prepared(usage_event() | {"time": time}).rejects == {}
    long = usage_event(started_at="2026-08-05T06:00:00Z", first_token_at=None, ended_at=None)
    assert prepared(long).rejects == {}


def test_one_of_a_batch_whose_times_lie_apart_is_refused_alone_and_told_how_far() -> None:
    apart = usage_event() | {"id": "apart", "time": "2026-08-06T09:00:00Z"}
    (found,) = prepared(usage_event(), apart, energy_event()).rejects.values()
    assert (found.reason, found.event_id) == (Reason.TIMES_APART, "apart")
    assert found.detail.startswith("time: 2 h or more after data.ended_at; send")


def test_a_time_within_five_minutes_is_no_future() -> None:
    soon = "2026-08-07T00:05:00Z"
    assert prepared(usage_event(ended_at=soon) | {"time": soon}).rejects == {}


def test_the_first_moment_an_event_may_have_is_in_and_can_be_set() -> None:
    event = energy_event(sampled_at="2015-01-01T00:00:00Z") | {"time": "2015-01-01T00:00:00Z"}
    assert prepared(event).rejects == {}
    body = json.dumps(event).encode()
    found = prepare([Record(body)], now=NOW, body_bytes_max=10**7, earliest=NOW)
    assert found.rejects[0].reason is Reason.PAST_TIME
    assert "2026-08-07" in found.rejects[0].detail


def test_a_scrape_of_a_run_that_began_in_year_one_is_refused() -> None:
    found = prepared(counters_event(run_started_at="0001-01-01T00:00:00Z"))
    assert found.rejects[0].reason is Reason.PAST_TIME


@pytest.mark.parametrize(("tokens", "fits"), [(10**12, True), (10**12 + 1, False), (10**16, False)])
def test_a_record_has_so_many_tokens_that_millions_of_them_fit_into_64_bits(
    tokens: int, fits: bool
) -> None:
    usage = {"input_total": tokens, "output_total": 0}
    found = prepared(usage_event(usage=usage, requests=10**9))
    assert (found.rejects == {}) is fits


def test_leaves_that_overflow_when_added_are_refused() -> None:
    leaves = dict.fromkeys(("uncached", "cache_read", "cache_write", "cache_write_5m"), 2**62)
    assert len(prepared(usage_event(usage={"input": leaves})).rejects) == 1


@pytest.mark.parametrize(
    ("amount", "fits"),
    [
        ("0.000000000001", True),
        ("1.5000000000000000000000000000000000000000", True),
        ("1.0000000000000000000000000000000000000001", False),
        ("999999999999999999999999", True),
        ("1e24", False),
        ("1e64", False),
    ],
)
def test_a_vendors_claim_is_an_amount_that_can_be_stored(amount: str, fits: bool) -> None:
    claim = {"amount": amount, "currency": "EUR"}
    assert (prepared(usage_event(provider_cost=claim)).rejects == {}) is fits


@pytest.mark.parametrize("name", [b"id", b"usage", b"uncached", b"customer_id"])
def test_a_name_that_stands_twice_is_refused(name: bytes) -> None:
    line = json.dumps(usage_event()).encode()
    twice = line.replace(b'"%s": ' % name, b'"%s": 1, "%s": ' % (name, name), 1)
    for copies in (1, 100):
        body = b"\n".join([twice] * copies)
        found = prepare([Record(body)], now=NOW, body_bytes_max=10**7)
        assert {one.reason for one in found.rejects.values()} == {Reason.NOT_JSON}
        assert len(found.rejects) == copies
        assert "twice" in found.rejects[0].detail


@pytest.mark.parametrize("field", ["tags", "identity_source"])
def test_a_name_no_database_can_hold_is_told_and_not_kept(field: str) -> None:
    event = usage_event(**{field: {"a\0b\ud800" + "x" * 100_000: "x"}})
    (found,) = prepared(event).rejects.values()
    assert found.detail.isprintable()
    assert len(found.detail) <= 1000
    assert found.detail.encode()
