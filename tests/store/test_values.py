"""Rows leave the store as values of a type, whose fields are the columns."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, get_args, get_type_hints
from uuid import UUID

import pytest

from ledger.store.books.export import PARTS
from ledger.store.metering.conflicts import CONFLICTS, STORED
from ledger.store.queries import Connection, Query
from tests.architecture.sources import sources


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


# What a field may be that a column of this type fills; of others only the name is compared.
TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("int2", "int4", "int8"), (int,)),
    **dict.fromkeys(("text", "varchar", "name"), (str,)),
    **{"numeric": (Decimal, int), "timestamptz": (datetime,), "date": (date,), "bool": (bool,)},
    **{"bytea": (bytes,), "uuid": (UUID,)},
}


MADE = re.compile(r'\b([A-Z]+)\["(\w+)"\]\.(?:values|first)\(\s*connection,\s*(\w+)')


def made() -> Iterator[tuple[str, Query, Any]]:
    """Each query of the store whose rows become values, and the type of those."""
    for source in sources("ledger/store"):
        module = importlib.import_module(source.path.removesuffix(".py").replace("/", "."))
        for queries, name, kind in MADE.findall(source.text):
            yield name, getattr(module, queries)[name], getattr(module, kind)
    yield from ((part, *each) for part, each in PARTS.items())
    yield from ((name, CONFLICTS[name], kind) for name, kind in STORED.items())


async def test_every_value_has_the_columns_of_its_query(worker: Connection) -> None:
    """Nothing but this says so before a row comes: neither side names the other's fields."""
    wrong: list[object] = []
    seen = 0
    for name, query, kind in made():
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)] if is_dataclass(kind) else kind._fields
        columns = {c.name: c.type.name for c in (await worker.prepare(query.sql)).get_attributes()}
        if set(columns) != set(names):
            wrong.append((name, kind.__name__, set(columns) ^ set(names)))
            continue
        wrong += [
            (name, kind.__name__, column, type_name)
            for column, type_name in columns.items()
            if not {*TYPES.get(type_name, (Any,))} & {Any, hints[column], *get_args(hints[column])}
        ]
        seen += 1
    assert wrong == []
    assert seen > 60
