"""Rows of many batches added up: against a walk over them, one by one."""

from collections.abc import Sequence

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.metering.merged_rows import added_up

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "usage_key_id": pl.Int64,
    "customer_id": pl.String,
    "window_start": pl.Datetime("us", "UTC"),
    "seen_at": pl.Int64,
    "requests": pl.Int64,
    "visible": pl.Int64,
    "batch_seq": pl.Int64,
}
KEYS = ("customer_id", "window_start", "usage_key_id", "seen_at")
WINDOW_US = 900_000_000
# Each with whose it is: nobody's, a name with an accent, and one that another begins with.
CUSTOMERS = {1: None, 2: "é", 2**62: "a", 2**63 - 1: "ab"}
WIDE = 2**57
Row = tuple[int, int, int | None, int, int, int]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(sorted(CUSTOMERS)),
        st.integers(0, 3),
        st.sampled_from([None, 1, 7]),
        st.integers(-2, 2),
        st.sampled_from([-WIDE, -1, 0, 1, WIDE]),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=40,
)


def frame_of(rows: Sequence[Row]) -> pl.DataFrame:
    """Rows as batches add them."""
    columns = [(key, CUSTOMERS[key], window * WINDOW_US, *others) for key, window, *others in rows]
    return pl.DataFrame(columns, schema=SCHEMA, orient="row")


def merged_of(rows: Sequence[Row]) -> pl.DataFrame:
    """What they come to, two rows at a time."""
    frame = frame_of(rows)
    parts = list(added_up(frame, KEYS, ("requests", "visible"), ("customer_id",), at_once=2))
    assert all(part.height <= 2 for part in parts)
    whole = list(added_up(frame, KEYS, ("requests", "visible"), ("customer_id",)))
    assert len(whole) == 1
    assert pl.concat(parts).equals(whole[0])
    return whole[0]


@given(ROWS)
def test_rows_of_the_same_keys_are_one_with_their_sums(rows: list[Row]) -> None:
    walked: dict[tuple[object, ...], tuple[int, int, int, int]] = {}
    for *key, requests, visible, number in rows:
        there = walked.get(tuple(key), (0, 0, number, number))
        walked[tuple(key)] = (
            there[0] + requests,
            there[1] + visible,
            max(there[2], number),
            min(there[3], number),
        )
    merged = merged_of(rows)
    windows = merged["window_start"].to_physical() // WINDOW_US
    said = merged.with_columns(windows).select(
        *("usage_key_id", "window_start", "seen_at", "requests", "visible"),
        *("batch_seq", "first_batch_seq"),
    )
    assert sorted(map(repr, said.rows())) == sorted(
        repr((*key, *sums)) for key, sums in walked.items() if sums[0] or sums[1]
    )
    assert merged["customer_id"].to_list() == [CUSTOMERS[key] for key in merged["usage_key_id"]]


@given(ROWS)
def test_they_are_in_the_order_of_their_keys(rows: list[Row]) -> None:
    merged = merged_of(rows)
    assert merged.equals(merged.sort(KEYS))
