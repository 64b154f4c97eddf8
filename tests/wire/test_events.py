"""The models accept what may be billed and say of everything else where, what and what to do."""

from copy import deepcopy
from dataclasses import asdict
from decimal import Decimal
from typing import Any, get_args, get_type_hints

import pytest

from ledger.wire.errors import EventError
from ledger.wire.events import (
    EVENT_TYPES,
    CorrectionEvent,
    CountersEvent,
    EnergyEvent,
    UsageEvent,
)
from ledger.wire.parse import explain, parse_event
from tests.wire.samples import counters_event, energy_event, usage_data, usage_event


def usage_with(**usage: Any) -> dict[str, Any]:
    event = usage_event()
    event["data"]["usage"] = usage
    return event


def changed(path: str, value: Any) -> dict[str, Any]:
    event = deepcopy(usage_event())
    place: Any = event
    *parents, last = path.split(".")
    for part in parents:
        place = place[part]
    place[last] = value
    return event


def test_the_full_usage_event_is_read_with_its_leaves() -> None:
    event = parse_event(usage_event())
    assert isinstance(event, UsageEvent)
    leaves = event.data.usage.leaves()
    assert (leaves.uncached, leaves.cache_read, leaves.visible) == (1312, 4096, 187)
    assert (leaves.input_tokens, leaves.output_tokens) == (5408, 187)
    assert leaves.split_unknown, "reasoning is null, so it may hide in visible"


def test_the_customer_falls_back_to_the_subject() -> None:
    event = usage_event(customer_id=None)
    assert parse_event(event).customer_id == "cust_acme"  # type: ignore[union-attr]
    del event["subject"]
    assert parse_event(event).customer_id is None  # type: ignore[union-attr]


def test_totals_alone_are_enough_and_leave_the_split_unknown() -> None:
    event = parse_event(usage_with(input_total=10, output_total=3))
    assert isinstance(event, UsageEvent)
    leaves = event.data.usage.leaves()
    assert (leaves.uncached, leaves.visible, leaves.split_unknown) == (10, 3, True)


def test_a_missing_main_leaf_is_the_total_less_the_known_leaves() -> None:
    event = parse_event(
        usage_with(input={"cache_read": 4, "cache_write": 0}, input_total=10, output_total=0)
    )
    assert isinstance(event, UsageEvent)
    leaves = event.data.usage.leaves()
    assert (leaves.uncached, leaves.split_unknown) == (6, False)


def test_a_side_that_is_not_counted_is_unknown_and_not_zero() -> None:
    event = parse_event(usage_with(input={"uncached": 5, "cache_read": 0, "cache_write": 0}))
    assert isinstance(event, UsageEvent)
    leaves = event.data.usage.leaves()
    assert (leaves.input_tokens, leaves.visible, leaves.output_tokens) == (5, None, None)


def test_a_cache_write_by_lifetime_answers_for_the_plain_leaf() -> None:
    event = parse_event(
        usage_with(input={"uncached": 5, "cache_read": 0, "cache_write_5m": 7}, input_total=12)
    )
    assert isinstance(event, UsageEvent)
    assert event.data.usage.leaves().split_unknown is False


REFUSED = [
    ("data.usage.input_total", 1, "data.usage.input_total", "sum of its disjoint leaves"),
    ("data.usage.output_total", 188, "data.usage.output_total", "sum of its disjoint leaves"),
    ("data.usage.input.uncached", -1, "data.usage.input.uncached", "0 or more"),
    ("data.usage.input.uncached", 1312.0, "data.usage.input.uncached", "whole number"),
    ("data.usage.input.uncached", True, "data.usage.input.uncached", "whole number"),
    ("data.usage.input.uncached", "1312", "data.usage.input.uncached", "whole number"),
    ("data.usage.complete", True, "data.usage.complete", "never final"),
    ("data.usage", {}, "data.usage", "send input or output leaves"),
    ("data.usage", {"input_total": 10_000_001}, "data.usage.input.uncached", "10000000"),
    ("data.usage", {"input": {"cache_read": 3}}, "data.usage.input.uncached", "input_total"),
    (
        "data.usage",
        {"output_total": 5, "output": {"reasoning": 6}},
        "data.usage.output_total",
        "sum of its disjoint leaves",
    ),
    ("data.attempt", 0, "data.attempt", "1 or more"),
    ("data.requests", 0, "data.requests", "1 or more"),
    ("data.started_at", "2026-08-06T06:31:08.141Z", "data.first_token_at", "at or after"),
    ("data.first_token_at", "2026-08-06T06:31:12.419Z", "data.ended_at", "at or after"),
    ("data.started_at", "2026-08-06T06:31:07.902", "data.started_at", "offset"),
    ("data.started_at", 1786000000, "data.started_at", "RFC 3339"),
    ("data.tags", {str(n): "x" for n in range(17)}, "data.tags", "at most 16"),
    ("data.tags", {"k" * 65: "x"}, "data.tags", "64 characters"),
    ("data.tags", {"k": "x" * 257}, "data.tags.k", "256 characters"),
    ("data.customer_id", "a\0b", "data.customer_id", "NUL"),
    ("data.customer_id", "\ud800", "data.customer_id", "valid Unicode"),
    ("data.customer_id", "x" * 257, "data.customer_id", "256 characters"),
    ("data.provider_cost", {"amount": 0.5, "currency": "EUR"}, "data.provider_cost.amount", "text"),
    ("data.status", "fine", "data.status", "client_aborted"),
    ("type", "inference.usage.v9", "type", "inference.usage.v1"),
    ("time", None, "time", "RFC 3339"),
    ("specversion", "0.3", "specversion", "1.0"),
    ("datacontenttype", "text/plain", "datacontenttype", "application/json"),
    ("source", "", "source", "at least 1"),
]


@pytest.mark.parametrize(("path", "value", "field", "action"), REFUSED)
def test_a_refused_event_says_the_field_what_was_found_and_what_to_do(
    path: str, value: Any, field: str, action: str
) -> None:
    problems = explain(changed(path, value))
    assert [problem.field for problem in problems if problem.field.startswith(field)]
    text = "; ".join(str(problem) for problem in problems)
    assert action in text
    assert "found" in text


@pytest.mark.parametrize("missing", ["time", "id", "source", "data", "specversion", "type"])
def test_an_event_without_a_needed_attribute_is_refused_by_its_name(missing: str) -> None:
    event = usage_event()
    del event[missing]
    (first, *_) = explain(event)
    assert (first.field, first.found) == (missing, "nothing")


@pytest.mark.parametrize("raw", [None, [], "x", 3, {}, {"type": 5}, {"type": ["a"]}])
def test_what_is_no_event_at_all_is_refused_without_a_crash(raw: object) -> None:
    with pytest.raises(EventError):
        parse_event(raw)


def test_every_problem_is_reported_at_once() -> None:
    event = usage_event(attempt=0, requests=0)
    assert {problem.field for problem in explain(event)} == {"data.attempt", "data.requests"}


def test_more_requests_allow_more_tokens() -> None:
    event = usage_event(requests=2)
    event["data"]["usage"] = {"input_total": 20_000_000, "output_total": 0}
    assert explain(event) == ()


def test_unknown_attributes_are_ignored() -> None:
    event = usage_event(messages=[{"role": "user"}]) | {"x-extra": 1.5}
    parsed = parse_event(event)
    assert isinstance(parsed, UsageEvent)
    assert "messages" not in asdict(parsed.data)


def test_a_correction_names_its_original_and_a_revision() -> None:
    event = usage_event(revision=1, supersedes="7.2.0") | {"type": "inference.usage.correction.v1"}
    parsed = parse_event(event)
    assert isinstance(parsed, CorrectionEvent)
    assert parsed.original == ("/gateways/eu-1/llm", "7.2.0")
    event["data"] = usage_data()
    assert [problem.field for problem in explain(event)] == ["data.revision"]


def test_a_reservation_holds_tokens_until_it_expires() -> None:
    held = {
        "request_id": "r",
        "input_tokens_max": 10,
        "output_tokens_max": 5,
        "expires_at": "2026-08-06T07:00:00Z",
    }
    event = usage_event() | {"type": "inference.usage.reservation.v1", "data": held}
    assert explain(event) == ()


@pytest.mark.parametrize("energy_mj", [123_456_789, "123456789"])
def test_energy_is_whole_millijoules_as_integer_or_text(energy_mj: object) -> None:
    parsed = parse_event(energy_event(energy_mj=energy_mj))
    assert isinstance(parsed, EnergyEvent)
    assert parsed.data.energy_mj == 123_456_789


@pytest.mark.parametrize(
    "energy_mj", [2**62, 9223372036854775794, -1, 1.0, True, "1.5", "-1", "", "٣", None]
)
def test_a_blank_or_inexact_energy_reading_is_refused(energy_mj: object) -> None:
    assert [problem.field for problem in explain(energy_event(energy_mj=energy_mj))] == [
        "data.energy_mj"
    ]


def test_a_mig_slice_is_refused_in_favour_of_its_parent() -> None:
    (found,) = explain(energy_event(gpu_uuid="MIG-1"))
    assert "parent" in found.action


def test_a_reading_has_one_time() -> None:
    assert explain(energy_event(sampled_at="2026-08-06T06:31:12.418Z")) == ()
    (found,) = explain(energy_event(sampled_at="2026-08-06T06:31:13Z"))
    assert found.field == "data.sampled_at"


def test_counters_keep_their_exact_value() -> None:
    parsed = parse_event(counters_event())
    assert isinstance(parsed, CountersEvent)
    assert parsed.data.values[0].value == Decimal("9081.0")


@pytest.mark.parametrize("value", [9081, 1.5, "-1", "NaN", "Infinity", "1e999999999", "1_0", "x"])
def test_a_counter_that_is_no_ordinary_decimal_text_is_refused(value: object) -> None:
    broken = {"name": "prompt_tokens", "labels": {}, "value": value}
    assert [problem.field for problem in explain(counters_event(values=[broken]))] == [
        "data.values.0.value"
    ]


def test_every_type_has_a_shape_that_accepts_only_it() -> None:
    for name, shape in EVENT_TYPES.items():
        assert get_args(get_type_hints(shape)["type"]) == (name,)
