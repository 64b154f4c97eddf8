"""Rows leave the store as values of a type, whose fields are the columns."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import pytest

from ledger.store.queries import Connection, Query


@dataclass(frozen=True, slots=True)
class Sum:
    """As a query's other columns are ordered."""

    amount: Decimal
    requests: int
    unknown: int | None
    names: tuple[str, ...]


class Place(NamedTuple):
    """The same mechanism makes named tuples."""

    requests: int
    amount: Decimal | None


def asked(text: str) -> Query:
    return Query("asked", text, ())


ROWS = asked(
    "SELECT ARRAY['a', 'b'] AS names, n * 10::numeric ^ 20 AS requests,"
    " NULL::numeric AS unknown, n / 10 AS amount FROM (VALUES (1.0), (2.0)) v(n)"
)


async def test_columns_are_found_by_name_and_formed_as_the_fields_say(worker: Connection) -> None:
    first, second = await ROWS.values(worker, Sum)
    assert first == Sum(Decimal("0.1"), 10**20, None, ("a", "b"))
    assert (type(first.requests), type(second.names)) == (int, tuple)
    assert await ROWS.first(worker, Sum) == first
    async with worker.transaction():
        pages = [page async for page in ROWS.value_pages(worker, Sum, 1)]
    assert pages == [[first], [second]]


async def test_a_named_tuple_is_made_alike(worker: Connection) -> None:
    query = asked(
        "SELECT 0.5 AS amount, 7::numeric AS requests UNION ALL SELECT NULL, 8 ORDER BY 2"
    )
    assert await query.values(worker, Place) == [Place(7, Decimal("0.5")), Place(8, None)]


async def test_of_nothing_there_is_no_value(worker: Connection) -> None:
    query = asked("SELECT 1 AS requests, 0.5 AS amount WHERE false")
    assert await query.values(worker, Place) == []
    assert await query.first(worker, Place) is None


@pytest.mark.parametrize(
    "columns",
    ["1 AS requests", "1 AS requests, 2.5 AS amount, 3 AS more", "1 AS request, 2.5 AS amount"],
)
async def test_other_columns_than_its_fields_are_refused(worker: Connection, columns: str) -> None:
    with pytest.raises(TypeError, match="Place has requests, amount, the row"):
        await asked(f"SELECT {columns}").values(worker, Place)
