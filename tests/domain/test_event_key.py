"""A key follows from source and id alone, and ids that follow one another lie together."""

from datetime import UTC, datetime
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.metering.event_key import (
    ORDER_BYTES,
    event_key,
    event_keys,
    key_columns,
    key_octets,
)

IDS = st.lists(st.tuples(st.integers(1, 2**31 - 1), st.text(max_size=200)), min_size=1)
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NOON_MS = int(datetime(2026, 8, 6, 12, tzinfo=UTC).timestamp() * 1000)


def place(event_id: str) -> int:
    """Where an id lies."""
    return int.from_bytes(event_key(1, event_id)[:ORDER_BYTES])


def ulid(millisecond: int) -> str:
    value = millisecond << 80 | 0x5A5A_5A5A_5A5A
    return "".join(CROCKFORD[value >> 5 * at & 31] for at in range(25, -1, -1))


def uuid7(millisecond: int) -> str:
    return str(UUID(int=millisecond << 80 | 7 << 76 | 2 << 62))


@given(IDS)
def test_a_key_is_the_same_in_whatever_company(named: list[tuple[int, str]]) -> None:
    sources, ids = (list(column) for column in zip(*named, strict=True))
    keys = event_keys(pl.Series(sources, dtype=pl.Int32), pl.Series(ids, dtype=pl.String))
    assert [row.tobytes() for row in keys] == [event_key(*name) for name in named]
    assert len({row.tobytes() for row in keys}) == len(set(named))


@given(IDS)
def test_keys_as_numbers_are_the_same_keys_in_the_same_order(named: list[tuple[int, str]]) -> None:
    sources, ids = (list(column) for column in zip(*named, strict=True))
    keys = event_keys(pl.Series(sources, dtype=pl.Int32), pl.Series(ids, dtype=pl.String))
    framed = pl.DataFrame(key_columns(keys))
    assert (key_octets(framed) == keys).all()
    ordered = [row.tobytes() for row in key_octets(framed.sort(pl.all()))]
    assert ordered == sorted(row.tobytes() for row in keys)


@pytest.mark.parametrize(
    ("event_id", "key"),
    [
        ("", "0000000000006b9561322a6a3131ace0"),
        ("e1", "000000000d413567f5c098278cf18c17"),
        ("gw-7:0000123456", "0000000001e2729da85119820ad3998a"),
        ("018f3c2a-7b1c-7000-8000-000000000000", "0012360f30b15f599a68e8d2e7fc4b6d"),
    ],
)
def test_a_key_is_the_same_for_ever(event_id: str, key: str) -> None:
    """What is stored is found by it: a key that changed would count an event twice."""
    assert event_key(7, event_id).hex() == key


def test_numbers_lie_in_their_order_behind_any_prefix() -> None:
    for name in ("{}", "gw-{}", "gateway/eu:{}", "evt_{:020}", "{:026}"):
        places = [place(name.format(n)) for n in range(1_000_000, 1_005_000, 256)]
        assert [at - places[0] for at in places] == list(range(len(places)))


@pytest.mark.parametrize("prefix", ["", "evt_", "chat.completion:"])
def test_ids_that_begin_with_their_time_lie_in_its_order(prefix: str) -> None:
    for make in (ulid, uuid7):
        places = [place(prefix + make(NOON_MS + second * 1_000)) for second in range(0, 3_600, 70)]
        assert places == sorted(places)
        assert len(set(places)) == len(places)
        assert place(prefix + make(NOON_MS)) == place(prefix + make(NOON_MS + 1))
