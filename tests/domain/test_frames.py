"""What is done to few rows by walking over them is what a plan does to many."""

from collections import Counter
from typing import Any

import polars as pl
import pytest

from ledger.domain.frames import (
    MANY_ROWS,
    are_known,
    are_repeated,
    filled,
    in_order,
    mapped,
)
from ledger.domain.metering.fact import MARKS, Flag
from ledger.domain.metering.rows import usage_mark_frame
from ledger.domain.metering.spread import WINDOW_US

FEW, MANY = 60, MANY_ROWS + 200
pytestmark = pytest.mark.parametrize("rows", [FEW, MANY])


def texts(rows: int) -> pl.DataFrame:
    """Names of which some come twice and some are unknown, as a worst case of both."""
    names = [None if n % 7 == 0 else f"é{n % (rows - 5)}" for n in range(rows)]
    return pl.DataFrame({"source_id": [n % 3 for n in range(rows)], "id": names})


def test_rows_that_come_twice_are_found(rows: int) -> None:
    frame = texts(rows)
    times = Counter(frame.rows())
    assert are_repeated(frame).tolist() == [times[row] > 1 for row in frame.rows()]
    assert are_repeated(frame).any()


def test_what_is_unknown_is_told_and_filled(rows: int) -> None:
    numbers = pl.Series("n", [None if n % 4 else n - 2**62 for n in range(rows)], pl.Int64)
    known = are_known(numbers)
    assert known is not None
    assert known.tolist() == [n is not None for n in numbers.to_list()]
    assert filled(numbers, 5).tolist() == [5 if n is None else n for n in numbers.to_list()]
    assert are_known(numbers.drop_nulls()) is None


def test_rows_come_in_order_of_their_octets(rows: int) -> None:
    ids = [f"{'zéa€'[n % 4]}{n * 7 % 101}" for n in range(rows)]
    frame = pl.DataFrame({"row": range(rows), "source_id": [n % 2 for n in range(rows)], "id": ids})
    keys = in_order(frame, "source_id", "id").select("source_id", "id").rows()
    assert keys == sorted(
        frame.select("source_id", "id").rows(), key=lambda key: (key[0], key[1].encode())
    )


def test_texts_have_their_numbers(rows: int) -> None:
    names = pl.Series("source", [f"s{n % 9}" for n in range(rows)])
    numbers = {f"s{n}": 100 + n for n in range(20)}
    assert mapped(names, numbers).to_list() == [numbers[name] for name in names]


def test_marks_add_up_by_key_and_window(rows: int) -> None:
    facts: list[dict[str, Any]] = [
        {
            "customer_id": None if n % 5 == 0 else "acme",
            "usage_key_id": 2**62 + n % 5,
            "time": n % 11 * WINDOW_US + n,
            "flags": int(Flag.CACHED_UNKNOWN) * (n % 2) | int(Flag.ESTIMATED) * (n % 3 == 0),
            "requests": 1 + n % 4,
            "sign": -1 if n % 13 == 0 else 1,
        }
        for n in range(rows)
    ]
    marks = usage_mark_frame(pl.DataFrame(facts, infer_schema_length=None))
    assert marks is not None
    sums: Counter[tuple[object, ...]] = Counter()
    for fact in facts:
        for name, flag in MARKS.items():
            window = fact["time"] // WINDOW_US * WINDOW_US
            key = (fact["customer_id"], fact["usage_key_id"], window, name)
            sums[key] += fact["requests"] * fact["sign"] if fact["flags"] & flag else 0
    found = {
        (row["customer_id"], row["usage_key_id"], row["window"], name): row[name]
        for row in marks.with_columns(window=pl.col("window_start").to_physical()).to_dicts()
        for name in MARKS
        if row[name]
    }
    assert found == {key: said for key, said in sums.items() if said}
    assert marks.select("usage_key_id", "window_start").rows() == sorted(
        marks.select("usage_key_id", "window_start").rows()
    )
