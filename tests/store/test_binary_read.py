"""COPY streams are read as columns, and refused where their rows are not of the width they have."""

import io
from collections.abc import Sequence

import pytest

from ledger.store.binary_read import (
    BITS_900,
    INT2,
    INT8,
    NEVER,
    TIME,
    UnevenRowsError,
    read_arrays,
    read_columns,
)
from ledger.store.queries import Connection


async def copied(connection: Connection, query: str, arguments: Sequence[object] = ()) -> bytes:
    into = io.BytesIO()
    await connection.copy_from_query(query, *arguments, output=into, format="binary")
    return into.getvalue()


async def test_numbers_times_and_bits_are_read(worker: Connection) -> None:
    stream = await copied(
        worker,
        """SELECT (-2)::int8 AS a, 7::int2 AS b, at, set_bit(repeat('0', 900)::bit(900), 9, 1) AS m
             FROM unnest(ARRAY['1969-12-31T23:59:59.999999Z', '-infinity']::timestamptz[]) AS at""",
    )
    found = read_columns(stream, {"a": INT8, "b": INT2, "at": TIME, "m": BITS_900})
    assert [found[name].tolist() for name in ("a", "b", "at")] == [[-2, -2], [7, 7], [-1, NEVER]]
    assert found["m"].shape == (2, 113)
    assert found["m"][0].tolist() == [0, 64, *([0] * 111)]


async def test_no_rows_are_no_rows(worker: Connection) -> None:
    assert (
        read_columns(await copied(worker, "SELECT 1::int8 WHERE false"), {"a": INT8})["a"].tolist()
        == []
    )


@pytest.mark.parametrize(
    "query", ["SELECT NULL::int8", "SELECT 1::int4", "SELECT 1::int8, 2::int8"]
)
async def test_rows_of_another_width_are_refused(worker: Connection, query: str) -> None:
    with pytest.raises(UnevenRowsError):
        read_columns(await copied(worker, query), {"a": INT8})


async def test_columns_that_only_add_up_to_the_width_are_refused(worker: Connection) -> None:
    stream = await copied(worker, "SELECT 1::int2, 2::int8")
    with pytest.raises(UnevenRowsError, match="a is not of one width"):
        read_columns(stream, {"a": INT8, "b": INT2})


async def test_elements_of_arrays_are_rows(worker: Connection) -> None:
    stream = await copied(
        worker,
        """SELECT a, at, numbers, (SELECT coalesce(array_agg(-n), '{}') FROM unnest(numbers) AS n)
             FROM (VALUES (1::int8, '1970-01-01Z'::timestamptz, ARRAY[7, 9223372036854775807]),
                          (2, '1970-01-02Z', '{}'), (3, '1970-01-03Z', ARRAY[5]))
               AS said(a, at, numbers)""",
    )
    found = read_arrays(stream, {"a": INT8, "at": TIME}, ("n", "minus"))
    day = 86_400_000_000
    assert {name: values.tolist() for name, values in found.items()} == {
        "a": [1, 1, 3],
        "at": [0, 0, 2 * day],
        "n": [7, 2**63 - 1, 5],
        "minus": [-7, 1 - 2**63, -5],
    }
    nothing = await copied(worker, "SELECT 1::int8, '{}'::int8[] WHERE false")
    assert read_arrays(nothing, {"a": INT8}, ("n",))["n"].tolist() == []


@pytest.mark.parametrize(
    "arrays",
    ["ARRAY[1, NULL]::int8[], ARRAY[1, 2]::int8[]", "ARRAY[1]::int8[], ARRAY[1, 2]::int8[]"],
)
async def test_arrays_that_do_not_lie_side_by_side_are_refused(
    worker: Connection, arrays: str
) -> None:
    stream = await copied(worker, f"SELECT 1::int8, {arrays}")
    with pytest.raises(UnevenRowsError):
        read_arrays(stream, {"a": INT8}, ("n", "m"))
