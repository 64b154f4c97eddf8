"""A record's tally: each fate in its place, and together what was received."""

from collections.abc import Mapping
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.metering.fact import Fate, Reason
from ledger.domain.metering.permission import Binding, Permission
from ledger.domain.metering.record import Record, RecordOutcome, ReplayOf, count_fates
from ledger.wire.batch import COLUMNAR, BatchHeader


@given(
    plain=st.integers(0, 5),
    fates=st.dictionaries(st.integers(0, 9), st.sampled_from(Fate)),
)
def test_a_tally_has_each_fate_in_its_place(plain: int, fates: Mapping[int, Fate]) -> None:
    received = plain + len(fates)
    found = RecordOutcome(received, 1, 0, count_fates(received, fates))
    named = [*fates.values(), *[Fate.COUNTED] * plain]
    assert found.counts == {fate: named.count(fate) for fate in Fate}
    assert sum(found.tally) == received


def test_a_record_without_its_body_says_all_else() -> None:
    record = Record(
        b"body",
        BatchHeader("gw", "p", 1, 1, 2),
        "kafka",
        "t/0/1",
        "actor",
        3,
        Permission(Binding(None)),
        "refused",
        Reason.TOO_MANY_ITEMS,
        ReplayOf(1, 2, 3),
        COLUMNAR,
        {0: "unread"},
    )
    plain = Record(b"")
    said = [each.name for each in fields(Record) if each.name != "body"]
    assert all(getattr(record, name) != getattr(plain, name) for name in said)
    assert record.without_body() == replace(record, body=b"")
