"""How long anything ran in the slots of a window, beside a naive count of whole seconds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.sweep import covered_in

SECOND_US, WINDOW_S = 1_000_000, 900
_moments = st.integers(-100, 1_000)
_attempts = st.lists(st.tuples(st.integers(0, 2), _moments, _moments, st.booleans()), max_size=12)


@given(_attempts, st.sampled_from([1, 15, 60, 900]))
def test_covered_time_is_that_of_seconds_in_which_anything_ran(
    drawn: list[tuple[int, int, int, bool]], slot_s: int
) -> None:
    ran = [(engine, min(a, b), max(a, b)) for engine, a, b, _ in drawn]
    stands = [one for one, (*_, reversed_) in zip(ran, drawn, strict=True) if not reversed_]
    taken_back = [one for one, (*_, reversed_) in zip(ran, drawn, strict=True) if reversed_]
    rows = [(*one, 1) for one in ran] + [(*one, -1) for one in taken_back]
    columns = np.array(rows, np.int64).reshape(len(rows), 4).T
    engine, since, until, sign = columns

    covered = covered_in(engine, since * SECOND_US, until * SECOND_US, sign, slot_s * SECOND_US)

    busy = {
        (number, second)
        for number, first, last in stands
        for second in range(max(first, 0), min(last, WINDOW_S))
    }
    seconds = [0] * (WINDOW_S // slot_s)
    for _, second in busy:
        seconds[second // slot_s] += 1
    assert covered.tolist() == [each * SECOND_US for each in seconds]
