"""Small bytes are small work: how many items a body may hold, and how many refusals are kept."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.metering.decode import Reject
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.items import split_records
from ledger.domain.metering.lines import ITEMS_MAX, items_guessed, split_body, too_many_items
from ledger.domain.metering.ndjson.scan import count_elements
from ledger.domain.metering.record import Record
from ledger.domain.metering.refusals import KEPT_OF_BODY, KEPT_OF_SOURCE, choose_kept

LIMIT = 64 * 1024 * 1024
FULL = [
    b"1\n" * ITEMS_MAX,
    b"[" + b",".join([b"1"] * ITEMS_MAX) + b"]",
    b"[" + b",\n".join([b'{"a":"],\\"["}'] * ITEMS_MAX) + b"]",
    b"[" + b",".join([b"[1,2,3]"] * ITEMS_MAX) + b"]",
]
OVER = [
    b"1\n" * ITEMS_MAX + b"1",
    b"[" + b",".join([b"1"] * (ITEMS_MAX + 1)) + b"]",
    b" [" + b",\n".join([b'{"a":"],\\"["}'] * (ITEMS_MAX + 1)) + b"]",
    b"1\n" * 8_000_000,
    b"[" + b"1," * 8_000_000 + b"1]",
]


@pytest.mark.parametrize("body", FULL)
def test_a_full_body_has_all_its_items(body: bytes) -> None:
    assert not too_many_items(body)
    items = split_records([Record(body)], body_bytes_max=LIMIT)
    assert (len(items), items.rejects) == (ITEMS_MAX, {})
    assert items_guessed(body) * 6 >= ITEMS_MAX


@pytest.mark.parametrize("body", OVER)
def test_a_body_with_more_items_is_one_item_refused(body: bytes) -> None:
    assert too_many_items(body)
    items = split_records([Record(body)], body_bytes_max=LIMIT)
    assert [one.reason for one in items.rejects.values()] == [Reason.TOO_MANY_ITEMS]
    assert len(items) == 1


def test_a_broken_list_is_not_read_as_millions_of_lines() -> None:
    assert len(split_body(b"[" + b"\n1" * 1_000_000)) == 1


@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4)))
def test_elements_are_counted_as_json_has_them(value: object) -> None:
    elements = [value, 'a,[\\"', {"k": [1, 2]}]
    body = json.dumps(elements).encode()
    assert count_elements(np.frombuffer(body, np.uint8), 9) == len(elements)


def rejects(count: int, source: str = "s") -> dict[int, Reject]:
    return {row: Reject(Reason.NOT_JSON, "no", None, source) for row in range(count)}


def test_of_a_body_so_many_refusals_are_kept_and_the_others_counted() -> None:
    found = choose_kept(rejects(5_000), np.zeros(5_000, np.int64), {})
    assert list(found.rows) == list(range(KEPT_OF_BODY))
    assert [(row, items) for row, (_, items) in found.more.items()] == [(KEPT_OF_BODY, 4_000)]


def test_of_a_source_so_many_refusals_are_kept_and_another_keeps_its_own() -> None:
    each = {row: Reject(Reason.NOT_JSON, "no", None, "a" if row % 2 else "b") for row in range(20)}
    found = choose_kept(each, np.arange(20), {"a": KEPT_OF_SOURCE - 3})
    kept = [each[row].source for row in found.rows]
    assert (kept.count("a"), kept.count("b")) == (3, 10)
    assert [items for _, items in found.more.values()] == [7]
