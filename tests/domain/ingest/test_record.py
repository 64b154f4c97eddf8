"""A record's tally: each fate in its place, and together what was received."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.metering.fact import Fate
from ledger.domain.metering.record import RecordOutcome, count_fates


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
