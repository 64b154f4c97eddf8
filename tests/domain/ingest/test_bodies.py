"""What may still be refused keeps its bytes; all else lets them go, and says the same without."""

from typing import Any

import pytest

from ledger.domain.metering.bodies import let_bodies_go
from ledger.domain.metering.directory import Directory, SourceForm
from ledger.domain.metering.judge import KEYED, SEQUENCED
from ledger.domain.metering.prepare import Prepared, digest_batches, prepare
from ledger.domain.metering.record import Record
from ledger.wire.batch import COLUMNAR, NDJSON, BatchHeader
from ledger.wire.columnar_write import encode_columnar
from tests.domain.ingest.test_decode import NOW
from tests.support.encoded import encode_events
from tests.support.usage import bound_to
from tests.wire.samples import usage_event

FORMS = {"gw": SourceForm(1, SEQUENCED), "keyed": SourceForm(2, KEYED)}
KNOWN = Directory(sources=FORMS)


def ready(*records: Record) -> Prepared:
    return prepare(records, now=NOW, body_bytes_max=10**7)


def beside_another(*records: Record) -> Prepared:
    """The records and one more, as bytes of one alone are all kept."""
    return ready(*records, own([usage_event()]))


def own(events: list[dict[str, Any]]) -> Record:
    named = [e | {"id": f"e{n}", "source": "keyed"} for n, e in enumerate(events)]
    return Record(encode_events(named))


def columns(events: list[dict[str, Any]]) -> Record:
    header = BatchHeader("gw", "p", 1, 1, len(events), COLUMNAR)
    placed = [e | {"id": f"1.1.{n}", "source": "gw"} for n, e in enumerate(events)]
    return Record(encode_columnar(placed, header), header, encoding=COLUMNAR)


CORRECTION = usage_event(supersedes="1.1.0", revision=1) | {"type": "inference.usage.correction.v1"}
DOUBTFUL = {
    "nothing is known": (own([usage_event()]), None),
    "a source that nobody has registered": (own([usage_event()]), Directory()),
    "a source of the other form": (
        own([usage_event()]),
        Directory(sources={"keyed": SourceForm(1, SEQUENCED)}),
    ),
    "a sender who may not write everything": (
        Record(own([usage_event()]).body, permission=bound_to(["keyed"])),
        KNOWN,
    ),
    "a correction": (own([CORRECTION]), KNOWN),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_may_still_be_refused_keeps_its_bytes(case: str) -> None:
    record, known = DOUBTFUL[case]
    prepared = beside_another(record)
    before = prepared.items[0]
    let_bodies_go(prepared, known)
    assert prepared.items[0] == before


def test_what_cannot_be_refused_any_more_lets_its_bytes_go() -> None:
    prepared = beside_another(own([usage_event()]))
    let_bodies_go(prepared, KNOWN)
    with pytest.raises(IndexError):
        prepared.items[0]
    assert prepared.items.octets.size < 16


def test_a_refused_line_keeps_its_bytes_beside_those_that_let_go() -> None:
    body = own([usage_event()]).body + b"no event\n"
    prepared = ready(Record(body), own([usage_event()]))
    let_bodies_go(prepared, KNOWN)
    assert (list(prepared.rejects), prepared.items[1]) == ([1], b"no event")
    assert len(prepared.items) == 3
    assert list(prepared.ids([0, 2]).values()) == ["e0", "e0"]


@pytest.mark.parametrize("form", [NDJSON, COLUMNAR])
def test_a_batch_has_the_same_digest_once_its_bodies_are_gone(form: str) -> None:
    placed = [usage_event() | {"id": f"1.1.{n}", "source": "gw"} for n in range(3)]
    placed[1] = {"id": "no event"}
    header = BatchHeader("gw", "p", 1, 1, len(placed), form)
    encoded = encode_columnar(placed, header) if form == COLUMNAR else encode_events(placed)
    prepared = beside_another(Record(encoded, header, encoding=form))
    before = dict(prepared.batches)
    assert (list(before), list(prepared.rejects)) == ([0], [1])
    let_bodies_go(prepared, KNOWN)
    prepared.batches = {}
    digest_batches(prepared)
    assert prepared.batches == before


def test_an_event_of_a_columnar_batch_can_always_be_written_again() -> None:
    prepared = beside_another(columns([usage_event(requests=n + 1) for n in range(3)]))
    before = [prepared.items[n] for n in range(3)]
    prepared.items.kept.clear()
    let_bodies_go(prepared, KNOWN)
    assert [prepared.items[n] for n in range(3)] == before


def test_events_of_columns_that_may_be_refused_are_not_written_before_they_are() -> None:
    prepared = beside_another(columns([usage_event(), usage_event()]))
    let_bodies_go(prepared, None)
    assert sorted(prepared.items.kept) == [2]
    assert b'"1.1.1"' in prepared.items[1]


def test_a_record_alone_keeps_all_its_bytes() -> None:
    prepared = ready(own([usage_event(), usage_event()]))
    before = [prepared.items[row] for row in range(2)]
    let_bodies_go(prepared, KNOWN)
    assert [prepared.items[row] for row in range(2)] == before
