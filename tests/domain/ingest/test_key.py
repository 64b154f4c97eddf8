"""Who is billed and on which tier, with who said so."""

import random

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ledger.domain.metering.directory import DatedName, Directory, TierRule
from ledger.domain.metering.fact import TierSource, tier_source, with_tier_source
from ledger.domain.metering.items import COMPILED_BYTES_MIN
from ledger.domain.metering.key import Keyed, Memory, UsageKeyRow, assign_keys, content_id
from ledger.domain.metering.known_keys import KnownKeys
from ledger.domain.metering.numbering import combined, first_rows
from ledger.domain.metering.times import micros
from tests.domain.ingest.test_decode import NOW, prepared
from tests.wire.samples import usage_event

AT = micros(NOW)
RULE = TierRule("d", "factory", "llama", "batch", ("pod-1",), 0, None)
DIRECTORY = Directory(
    customers={"acme": "factory"},
    names={"crm-7": [DatedName("acme", AT, AT + 10)]},
    key_tiers={"key-1": "priority"},
    tier_rules=[RULE],
    entity_tiers={"factory": "standard", "other": "slow"},
)


def tier(served: str = "", key: str = "", instance: str = "") -> tuple[str, TierSource]:
    return DIRECTORY.tier_of(
        served, api_key_id=key, instance=instance, model="x", entity="factory", moment=AT
    )


def usage_keys(keyed: Keyed) -> list[UsageKeyRow]:
    return [each.usage for each in keyed.named(keyed.beyond(KnownKeys()))]


def test_a_tier_is_taken_from_the_event_then_key_then_deployment_then_entity() -> None:
    assert tier("gold", "key-1", "pod-1") == ("gold", TierSource.EVENT)
    assert tier("", "key-1", "pod-1") == ("priority", TierSource.KEY)
    assert tier("", "key-2", "pod-1") == ("batch", TierSource.DEPLOYMENT)
    assert tier() == ("standard", TierSource.ENTITY)


def test_a_dated_name_holds_from_its_start_to_before_its_end() -> None:
    found = [DIRECTORY.customer_of("crm-7", AT + n) for n in (-1, 0, 9, 10)]
    assert found == [None, "acme", "acme", None]
    assert DIRECTORY.customer_of("acme", 0) == "acme"


def test_a_content_id_tells_parts_apart_and_is_never_negative() -> None:
    parts: list[tuple[str | int | None, ...]] = [
        ("ab", "c"),
        ("a", "bc"),
        (None, "abc"),
        ("", "abc"),
        ("abc",),
    ]
    ids = {content_id(one) for one in parts}
    assert len(ids) == len(parts)
    assert min(ids) > 0
    # Stored ids outlive every version.
    assert content_id(("ab", 1, None)) == GOLDEN


def test_keys_are_those_of_the_content_and_the_source_of_the_tier_is_kept() -> None:
    frame = prepared(usage_event(customer_id="acme", service_tier_served=None)).usage
    keyed = assign_keys(frame, DIRECTORY)
    (key,) = usage_keys(keyed)
    assert (key.customer_id, key.entity_id, key.tier) == ("acme", "factory", "standard")
    (row,) = keyed.frame.to_dicts()
    assert row["usage_key_id"] == key.usage_key_id
    assert tier_source(row["flags"]) is TierSource.ENTITY
    assert tier_source(with_tier_source(row["flags"], TierSource.KEY)) is TierSource.KEY


def test_the_subject_is_billed_where_the_data_names_nobody() -> None:
    event = usage_event(customer_id=None) | {"subject": "acme"}
    assert usage_keys(assign_keys(prepared(event).usage, DIRECTORY))[0].customer_id == "acme"


def test_rows_have_the_keys_that_each_has_alone() -> None:
    draw = random.Random(7)
    events = [
        usage_event(
            customer_id=draw.choice([None, "acme", "crm-7"]),
            service_tier_served=draw.choice([None, "gold", "batch"]),
            agent=draw.choice([None, {"id": "a"}, {"id": "b"}]),
        )
        | {"id": f"e{n}", "time": f"2026-08-06T06:{draw.choice([14, 31])}:12.418Z"}
        for n in range(COMPILED_BYTES_MIN // 400)
    ]
    together = assign_keys(prepared(*events).usage, DIRECTORY).frame
    alone = pl.concat([assign_keys(prepared(event).usage, DIRECTORY).frame for event in events])
    named = ("usage_key_id", "engine_key_id", "customer_id", "flags")
    assert together["usage_key_id"].n_unique() > 20
    assert_frame_equal(together.select(named), alone.select(named))


def test_what_is_the_same_at_any_time_is_remembered_once_and_what_is_dated_by_its_window() -> None:
    """Names and tiers of deployments end; ids of customers, and tiers that are said, do not."""
    times = [f"2026-08-06T{hour:02}:14:12.418Z" for hour in (4, 5, 6)]
    said: list[dict[str, object]] = [
        {"customer_id": "acme", "service_tier_served": "gold"},
        {"customer_id": "nobody", "service_tier_served": "gold"},
        {"customer_id": "crm-7", "service_tier_served": "gold"},
        {"customer_id": "acme", "service_tier_served": None},
    ]
    memory = Memory()
    for event in said:
        for time in times:
            timed = usage_event(
                **event, **dict.fromkeys(("started_at", "first_token_at", "ended_at"))
            ) | {"time": time}
            frame = prepared(timed).usage
            alone, remembered = (assign_keys(frame, DIRECTORY, m).frame for m in (None, memory))
            assert_frame_equal(alone, remembered)
    assert len(memory) == 1 + 1 + len(times) + len(times)


def test_a_memory_that_is_full_begins_anew_and_says_the_same() -> None:
    memory = Memory(most=1)
    for who in ("acme", "b", "c", "acme", "b"):
        frame = prepared(usage_event(customer_id=who)).usage
        alone, remembered = (assign_keys(frame, DIRECTORY, m).frame for m in (None, memory))
        assert_frame_equal(alone, remembered)
        assert 0 < len(memory) <= 2


def test_only_keys_that_are_not_known_are_resolved_again() -> None:
    events = [usage_event(customer_id=who) | {"id": who} for who in ("acme", "b")]
    keyed = assign_keys(prepared(*events).usage, DIRECTORY)
    one, other = usage_keys(keyed)
    known = KnownKeys()
    known.add(np.array([one.usage_key_id, *keyed.ids.engine.tolist()]))
    assert [names.usage for names in keyed.named(keyed.beyond(known))] == [other]
    known.add(np.array([other.usage_key_id]))
    assert keyed.beyond(known) == []


@given(
    st.lists(st.lists(st.integers(1, 2**63 - 1) | st.integers(1, 9), max_size=9), max_size=6),
    st.lists(st.integers(1, 2**63 - 1) | st.integers(1, 9), max_size=9),
)
def test_known_keys_are_those_that_were_added(added: list[list[int]], asked: list[int]) -> None:
    known = KnownKeys()
    for ids in added:
        known.add(np.array(ids, np.int64))
    there = {each for ids in added for each in ids}
    assert len(known) == len(there)
    asked += there
    assert known.lacks(np.array(asked, np.int64)).tolist() == [n not in there for n in asked]


def test_too_many_known_keys_are_forgotten() -> None:
    known = KnownKeys(most=2)
    for n in range(5):
        known.add(np.array([n], np.int64))
        assert not known.lacks(np.array([n], np.int64)).any()
        assert len(known) <= 3


@given(
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 700), st.integers(0, 900)), min_size=1)
)
def test_combined_numbers_tell_apart_what_differs(rows: list[tuple[int, int, int]]) -> None:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    codes, count = combined([(c, int(c.max()) + 1) for c in columns], len(rows))
    numbers: dict[tuple[int, int, int], int] = {}
    for row, code in zip(rows, codes.tolist(), strict=True):
        assert numbers.setdefault(row, code) == code
    assert sorted(numbers.values()) == list(range(count))
    assert [rows[n] for n in first_rows(codes, count)] == sorted(numbers, key=lambda r: numbers[r])


GOLDEN = 2995295415999634078
