"""When an attempt ran, of many at once, is what the rule says of each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.metering.check.spans import UNKNOWN, find_spans

WINDOW = 900_000_000
moments = st.integers(-2 * WINDOW, 2 * WINDOW)
maybe = st.none() | moments | st.sampled_from([-WINDOW, 0, WINDOW])


@given(st.lists(st.tuples(moments, maybe, maybe), min_size=1))
def test_spans_are_those_of_each_attempt(
    attempts: list[tuple[int, int | None, int | None]],
) -> None:
    said = np.array([[UNKNOWN if t is None else t for t in each] for each in attempts], np.int64)
    starts, ends, inside = find_spans(*(np.ascontiguousarray(column) for column in said.T))
    for n, (time, started, ended) in enumerate(attempts):
        span = (time, time) if started is None else (started, time if ended is None else ended)
        assert (starts[n], ends[n]) == span
        inside_window = span[0] <= span[1] <= time and span[0] // WINDOW == time // WINDOW
        assert inside[n] == inside_window
