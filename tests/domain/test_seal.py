"""A chain's digests follow from everything in it, and from nothing else."""

from dataclasses import replace
from datetime import date

import pytest

from ledger.domain.errors import InvalidInputError
from ledger.domain.seal import Seal, SealPart, broken_links, link, read_head, unlike_head

PARTS = [
    SealPart("usage_fact", date(2026, 8, 6), 5, b"a" * 32, "t.batch_seq::bigint"),
    SealPart("charge", None, 2, b"b" * 32, "t.amount::numeric"),
]


def chain() -> tuple[list[Seal], dict[int, list[SealPart]]]:
    first = link(None, (10, 1), PARTS)
    second = link(first, (20, 2), PARTS[:1])
    third = link(second, (30, 3), [])
    return [first, second, third], {1: PARTS, 2: PARTS[:1]}


def test_a_whole_chain_has_no_broken_link_whatever_the_order_of_parts() -> None:
    seals, parts = chain()
    assert broken_links(seals, {1: PARTS[::-1], 2: parts[2]}) == []
    assert broken_links([], {}) == []
    # The digest is fixed for ever: what was printed once must be found again by any version.
    assert seals[0].digest.hex().startswith("a9616eb32ec3ce33")


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 6},
        {"digest": b"c" * 32},
        {"stored_day": date(2026, 8, 7)},
        {"table": "gpu_reading"},
        {"columns": "t.ordinal::integer"},
    ],
)
def test_a_part_that_changed_breaks_its_link(change: dict[str, object]) -> None:
    seals, parts = chain()
    parts[2] = [replace(parts[2][0], **change)]  # type: ignore[arg-type]
    assert [one.where for one in broken_links(seals, parts)] == ["seal 2"]


def test_a_link_made_anew_breaks_the_next() -> None:
    seals, parts = chain()
    parts[1] = PARTS[:1]
    seals[0] = link(None, (10, 1), parts[1])
    assert [one.where for one in broken_links(seals, parts)] == ["seal 2"]


def test_a_seal_that_is_gone_is_named_or_known_by_a_head_kept_elsewhere() -> None:
    seals, parts = chain()
    assert [one.name for one in broken_links(seals[1:], parts)] == ["seal_no"]
    assert [one.where for one in broken_links([seals[0], seals[2]], parts)] == ["seal 2"]
    head = seals[2].head
    assert unlike_head(seals, head) == []
    assert broken_links(seals[:2], parts) == []
    assert [one.stored for one in unlike_head(seals[:2], head)] == ["no such seal"]
    other = link(seals[1], (31, 3), [])
    assert [one.name for one in unlike_head([*seals[:2], other], head)] == ["head"]


@pytest.mark.parametrize("text", ["", "1", "1:", "1:xyz", "0:" + "0" * 64, "x:" + "0" * 64, "1:00"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a head"):
        read_head(text)
