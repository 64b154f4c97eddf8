"""Busy seconds of many attempts are those of each, merged."""

from datetime import timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.metering.check.busy import mark_busy
from ledger.domain.metering.check.windows import NO_WINDOWS as NOTHING
from ledger.domain.metering.check.windows import BusySeconds, Windows, merge
from ledger.domain.period import EPOCH, MICROSECOND, WINDOW, WINDOW_SECONDS
from tests.support.busy import mask_of

Masks = dict[tuple[int, int], int]
SECOND = 1_000_000
moments = st.integers(-2 * WINDOW_SECONDS, 3 * WINDOW_SECONDS).flatmap(
    lambda second: st.sampled_from([0, 1, SECOND - 1]).map(lambda rest: second * SECOND + rest)
)
attempts = st.tuples(st.sampled_from([-(2**63), -3, 0, 2**63 - 1]), moments, moments)


def marked(rows: list[tuple[int, int, int]]) -> BusySeconds:
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return BusySeconds(*mark_busy(*(np.ascontiguousarray(one) for one in columns)))


def as_masks(busy: BusySeconds) -> Masks:
    places = zip(busy.engine_key_ids.tolist(), busy.windows.tolist(), strict=True)
    bits = np.unpackbits(busy.octets, axis=1).tolist()
    return {
        place: sum(bit << n for n, bit in enumerate(row))
        for place, row in zip(places, bits, strict=True)
    }


def wanted(rows: list[tuple[int, int, int]]) -> Masks:
    found: Masks = {}
    for key, start_us, end_us in rows:
        start, end = (EPOCH + us * MICROSECOND for us in (min(start_us, end_us), end_us))
        at = EPOCH + (start - EPOCH) // WINDOW * WINDOW
        while at <= end:
            place = (key, (at - EPOCH) // MICROSECOND)
            found[place] = found.get(place, 0) | mask_of(start, end, at)
            at += WINDOW
    return {place: mask for place, mask in found.items() if mask}


@settings()  # the first call compiles
@given(st.lists(attempts, max_size=12))
def test_marked_seconds_are_those_of_each_attempt(rows: list[tuple[int, int, int]]) -> None:
    assert as_masks(marked(rows)) == wanted(rows)


@settings()  # the first call compiles
@given(st.lists(st.lists(attempts, max_size=4), max_size=4))
def test_seconds_marked_apart_and_merged_are_those_marked_together(
    parts: list[list[tuple[int, int, int]]],
) -> None:
    each = [Windows(NOTHING.usage, NOTHING.activity, marked(rows), NOTHING.marks) for rows in parts]
    assert as_masks(merge(each).busy) == wanted([one for rows in parts for one in rows])


def test_more_windows_than_the_first_table_holds_are_kept() -> None:
    long = timedelta(days=20)
    rows = [(n, n, long // MICROSECOND) for n in range(3)]
    found = marked(rows)
    assert found.windows.size == 3 * (long // WINDOW)
    assert as_masks(found) == wanted(rows)
