"""No row of the database leaves the store, and the rule that says so can fail."""

import pytest

from tests.architecture.rows import rows_that_are_taken, rows_that_leave
from tests.architecture.sources import parse, sources

OUTSIDE = "ledger/reports/planted.py"
INSIDE = "ledger/store/cost/planted.py"


def test_what_leaves_the_store_is_a_value() -> None:
    found = [finding for source in sources("ledger/store") for finding in rows_that_leave(source)]
    assert not found, "\n" + "\n".join(found)


def test_nobody_else_has_rows() -> None:
    others = sources("ledger")
    found = [finding for source in others for finding in rows_that_are_taken(source)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "answer",
    [
        "asyncpg.Record",
        "list[Record]",
        "asyncpg.Record | None",
        "AsyncIterator[list[asyncpg.Record]]",
        "'list[asyncpg.Record]'",
        "list[dict[str, Any]]",
        "dict[int, Mapping[str, Any]]",
        "Mapping[str, object]",
        "Any",
    ],
)
def test_a_row_that_leaves_is_found(answer: str) -> None:
    said = answer.strip("'")
    planted = parse(f"async def find_costs(c) -> {answer}: ...", INSIDE)
    assert list(rows_that_leave(planted)) == [f"{INSIDE}:1: find_costs gives {said}"]
    method = parse(f"class Costs:\n    def find(self) -> {answer}: ...", INSIDE)
    assert len(list(rows_that_leave(method))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "def find(c) -> list[WindowCost]: ...",
        "def find(c) -> dict[str, tuple[int, CostPool]]: ...",
        "def find(c) -> pl.DataFrame: ...",
        "def find(c) -> dict[str, NDArray[Any]]: ...",
        "def _line(row: asyncpg.Record) -> list[asyncpg.Record]: ...",
    ],
)
def test_values_frames_and_what_is_its_own_may_be(text: str) -> None:
    assert not list(rows_that_leave(parse(text, INSIDE)))


@pytest.mark.parametrize(
    "text",
    [
        "def f(row: asyncpg.Record) -> int: ...",
        "from asyncpg import Record",
        "pool: 'asyncpg.Pool[asyncpg.Record]'",
        "asyncpg.connect(url)",
        "rows = await connection.fetch(text)",
        "row = await connection.fetchrow(text)",
        "from ledger.store.queries import Query",
        "from ledger.store.queries import load_queries",
        "from ledger.store.values import values_of",
        "from ledger.store.cost.cost import COST",
    ],
)
def test_a_row_that_is_taken_is_found(text: str) -> None:
    assert list(rows_that_are_taken(parse(text, OUTSIDE)))
    assert not list(rows_that_are_taken(parse(text, INSIDE)))


@pytest.mark.parametrize(
    "text",
    [
        "except_ = asyncpg.UniqueViolationError",
        "from asyncpg import PostgresError",
        "from ledger.store.cost.cost import find_assets",
        "from ledger.store.queries import Connection, Pool",
        "from ledger.domain.metering.record import Record",
    ],
)
def test_errors_values_and_connections_may_be_had(text: str) -> None:
    assert not list(rows_that_are_taken(parse(text, OUTSIDE)))
