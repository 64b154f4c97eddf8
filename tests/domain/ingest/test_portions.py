"""A batch that is decoded in portions is the batch that it is at once."""

import itertools
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ledger.domain.ingest.columns import NAMES
from ledger.domain.ingest.digest import content_digests
from ledger.domain.ingest.directory import Directory, SourceForm
from ledger.domain.ingest.judge import KEYED, SEQUENCED
from ledger.domain.ingest.portions import join, let_bodies_go
from ledger.domain.ingest.prepare import Prepared, prepare
from ledger.domain.ingest.record import Permission, Record
from ledger.wire.batch import COLUMNAR, NDJSON, BatchHeader
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.ndjson import encode_events
from tests.domain.ingest.test_decode import NOW, SAMPLES
from tests.wire.samples import usage_event

EVENTS = st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=4)
BAD = Record(b'{"id": "bad"}\nnot json\n')
FORMS = {"gw": SourceForm(1, SEQUENCED), "keyed": SourceForm(2, KEYED)}
KNOWN = Directory(sources=FORMS)


def ready(records: Sequence[Record]) -> Prepared:
    return prepare(records, now=NOW, body_bytes_max=10**7)


def numbered(events: list[dict[str, Any]], sequence: int, encoding: str = NDJSON) -> Record:
    header = BatchHeader("gw", "p", 1, sequence, len(events), encoding)
    placed = [e | {"id": f"1.{sequence}.{n}", "source": "gw"} for n, e in enumerate(events)]
    body = encode_columnar(placed, header) if encoding == COLUMNAR else encode_events(placed)
    return Record(body, header, encoding=encoding)


def own(events: list[dict[str, Any]], first: int = 0) -> Record:
    named = [e | {"id": f"e{first + n}", "source": "keyed"} for n, e in enumerate(events)]
    return Record(encode_events(named))


@st.composite
def batches(draw: st.DrawFn) -> list[Record]:
    found: list[Record] = []
    for n in range(1, draw(st.integers(2, 6))):
        events = draw(EVENTS)
        found.append(
            draw(
                st.sampled_from(
                    [numbered(events, n), numbered(events, n, COLUMNAR), own(events, n), BAD]
                )
            )
        )
    return found


def assert_same(portions: list[Prepared], records: Sequence[Record]) -> None:
    at_once, joined = ready(records), join(portions)
    for name in ("usage", "energy"):
        one, other = getattr(joined, name), getattr(at_once, name)
        assert_frame_equal(
            one.drop("id", NAMES, strict=False), other.drop("id", NAMES, strict=False)
        )
    assert joined.counters.drop("id").rows() == at_once.counters.drop("id").rows()
    assert joined.ids(range(len(joined.items))) == at_once.ids(range(len(at_once.items)))
    assert joined.rejects == at_once.rejects
    assert joined.batches == at_once.batches
    for name in ("firsts", "sizes", "owners"):
        assert getattr(joined.items, name).tolist() == getattr(at_once.items, name).tolist()
    for row in at_once.rejects:
        assert joined.items[row] == at_once.items[row]
    rows = pl.Series("row", range(len(at_once.items)))
    digests = content_digests(joined.decoded, rows)
    assert digests.sort("row").rows() == content_digests(at_once.decoded, rows).sort("row").rows()
    names = joined.usage.group_by(NAMES).agg(pl.n_unique("customer_ref", "model", "agent_id"))
    assert names.drop(NAMES).rows() == [(1, 1, 1)] * names.height


@settings(deadline=None)
@given(batches(), st.lists(st.integers(0, 5), max_size=3), st.sampled_from([None, KNOWN]))
def test_portions_come_to_what_all_records_come_to(
    records: list[Record], cuts: list[int], known: Directory | None
) -> None:
    edges = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    portions = [ready(records[a:b]) for a, b in itertools.pairwise(edges) if a < b]
    for one in portions:
        let_bodies_go(one, known)
    assert_same(portions, records)


def test_many_lines_of_one_shape_come_to_the_same_in_portions() -> None:
    lines = [usage_event(customer_id=f"c{n % 7}", requests=n + 1) for n in range(200)]
    records = [numbered(lines, 1), own(lines), numbered(lines, 2, COLUMNAR), own(lines, 500)]
    portions = [ready(records[:1]), ready(records[1:3]), ready(records[3:])]
    for one in portions:
        let_bodies_go(one, KNOWN)
        assert one.items.octets.size < 16, "the bodies are still there"
    assert_same(portions, records)


CORRECTION = usage_event(supersedes="1.1.0", revision=1) | {"type": "inference.usage.correction.v1"}
DOUBTFUL = {
    "nothing is known": (own([usage_event()]), None),
    "a source that nobody has registered": (own([usage_event()]), Directory()),
    "a source of the other form": (
        own([usage_event()]),
        Directory(sources={"keyed": SourceForm(1, SEQUENCED)}),
    ),
    "a sender who may not write everything": (
        Record(own([usage_event()]).body, permission=Permission(frozenset({"keyed"}))),
        KNOWN,
    ),
    "a correction": (own([CORRECTION]), KNOWN),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_may_still_be_refused_keeps_its_bytes(case: str) -> None:
    record, known = DOUBTFUL[case]
    prepared = ready([record])
    before = prepared.items[0]
    let_bodies_go(prepared, known)
    assert prepared.items[0] == before


def test_what_cannot_be_refused_any_more_lets_its_bytes_go() -> None:
    prepared = ready([own([usage_event()])])
    let_bodies_go(prepared, KNOWN)
    with pytest.raises(IndexError):
        prepared.items[0]
