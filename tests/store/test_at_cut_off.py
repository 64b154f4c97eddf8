"""What is true at a cut-off: said once, part of the query that asks, seen by whom it is for."""

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from ledger.domain.metering.fact import Flag, Kind
from ledger.store.queries import Connection, Query, load_queries
from tests.store.test_every_query import FILES
from tests.support.asking import ask_as
from tests.support.database import Database, execute
from tests.support.plans import explain

# function, its table, and the columns that tell its rows apart
TRUTHS = {
    "allocations_at": ("cost_allocation", ("scope", "window_start", "line")),
    "pools_at": ("cost_pool", ("scope", "window_start", "kind")),
    "meters_at": ("meter_window", ("gpu_uuid", "window_start")),
}
# Charges add up, and are priced beside it where a part of a day is asked for; so do costs of days.
SUMMED = {"charges_at", "charged_at", "costs_at"}
# What is allocated, line by line.
SPELT_OUT = {"cost_lines_at"}
# What stands for a fact, which is asked by its own name and not at a cut-off.
FATES = {"fates_of", "standing_facts"}
# What reports group usage keys by.
OF_KEYS = {"grouped_keys"}
INLINED = TRUTHS.keys() | FATES | SUMMED | SPELT_OUT | OF_KEYS
NAMED = re.compile(rf"\b({'|'.join(INLINED)})\(")
# What an index of the tables finds rows by.
FOUND_BY = re.compile(r"\b(entity_id|customer_id|window_start|scope|gpu_uuid|batch_seq)\b")
LAST = 40
REVISED = (Path(__file__).parents[1] / "support" / "revisions.sql").read_text()


@pytest.fixture
async def revised(database: Database) -> Database:
    await execute(database.superuser_url, REVISED)
    return database


@pytest.mark.parametrize("name", TRUTHS)
async def test_the_highest_revision_stored_up_to_a_cut_off_stands(
    revised: Database, worker: Connection, name: str
) -> None:
    table, key = TRUTHS[name]
    every = [dict(row) for row in await worker.fetch(f"SELECT * FROM {table}")]
    numbers: set[int] = set()
    for seq in range(-1, LAST + 1):
        found = [dict(row) for row in await worker.fetch(f"SELECT * FROM {name}($1)", seq)]
        expected = highest([row for row in every if row["batch_seq"] <= seq], key)
        assert sorted(found, key=lambda row: places(row, key)) == expected
        numbers.add(len(expected))
    assert {0, 6} <= numbers
    stands = [dict(row) for row in await worker.fetch(f"SELECT * FROM {name}(as_it_stands())")]
    assert sorted(stands, key=lambda row: places(row, key)) == highest(every, key)


def places(row: dict[str, Any], key: tuple[str, ...]) -> tuple[Any, ...]:
    """The natural key of a row."""
    return tuple(row[column] for column in key)


def highest(rows: list[dict[str, Any]], key: tuple[str, ...]) -> list[dict[str, Any]]:
    """Of each natural key the row of the highest revision, in their order."""
    ordered = sorted(rows, key=lambda row: (places(row, key), row["revision"]))
    return [list(same)[-1] for _, same in groupby(ordered, key=lambda row: places(row, key))]


def asking() -> Iterator[tuple[str, Query]]:
    """Every query of the store that asks what is true at a cut-off, with its file."""
    for room in FILES:
        for query in load_queries(room).values():
            if NAMED.search(query.sql):
                yield room, query


def test_every_truth_is_asked_for() -> None:
    named = {name for _, query in asking() for name in NAMED.findall(query.sql)}
    assert named == INLINED


async def not_inlined(connection: Connection, query: Query) -> str:
    """Which truth a query calls for rows, or what it asks of rows once it has them; empty: none."""
    plan = await explain(connection, query, generic=True, **dict.fromkeys(query.parameters))
    return " ".join([*(plan.functions & INLINED), *FOUND_BY.findall(plan.late_filters)])


async def test_a_truth_is_part_of_the_plan_of_whoever_asks_for_it(
    database: Database, worker: Connection, api: Connection
) -> None:
    found = {}
    for room, query in asking():
        found[room, query.name, "worker"] = await not_inlined(worker, query)
        async with api.transaction():
            await ask_as(api, database, "finance")
            found[room, query.name, "api"] = await not_inlined(api, query)
    assert not {name: what for name, what in found.items() if what}


async def test_a_truth_is_part_of_a_query_within_a_query(worker: Connection) -> None:
    each = "SELECT (SELECT count(*) FROM {}($1::bigint)) FROM generate_series(1, 2)"
    for name in TRUTHS:
        assert not await not_inlined(worker, Query("within", each.format(name), ("seq",)))


async def test_a_function_that_is_called_is_seen(owner: Connection) -> None:
    await owner.execute(
        """CREATE FUNCTION careless_at(seq bigint) RETURNS SETOF charge LANGUAGE sql STABLE
           SET search_path = public AS 'SELECT * FROM charge WHERE batch_seq <= seq'"""
    )
    asked = Query("asked", "SELECT * FROM careless_at($1)", ("seq",))
    assert (await explain(owner, asked, generic=True, seq=1)).functions == {"careless_at"}


async def test_a_filter_that_comes_late_is_seen(owner: Connection) -> None:
    late = "SELECT * FROM cost_lines_at($1) c WHERE c.gpu_terms = $2"
    asked = Query("late", late, ("seq", "gpu_terms"))
    plan = await explain(owner, asked, generic=True, seq=1, gpu_terms="owned")
    assert "gpu_terms" in plan.late_filters


async def test_who_asks_sees_of_a_truth_what_is_theirs(revised: Database, api: Connection) -> None:
    seen = {}
    for role, customer, entity in (
        ("admin", None, None),
        ("finance", None, "e-0"),
        ("customer", "c-1", None),
    ):
        async with api.transaction():
            await ask_as(api, revised, role, customer, entity)
            seen[role] = {
                name: await api.fetchval(f"SELECT count(*) FROM {name}(as_it_stands())")
                for name in TRUTHS
            }
    assert set(seen["admin"].values()) == {6}
    assert list(seen["finance"].values()) == [2, 2, 0]
    assert list(seen["customer"].values()) == [0, 0, 0]


async def test_lines_of_what_is_allocated_stand_one_by_one(
    revised: Database, worker: Connection
) -> None:
    for seq in (*range(LAST + 1), 2**62):
        rows = await worker.fetch(
            """SELECT c.*, s.usage_key_id, s.device_cost_low FROM allocations_at($1) c
                 JOIN cost_share s USING (scope, window_start, revision)""",
            seq,
        )
        lines = await worker.fetch("SELECT * FROM cost_lines_at($1)", seq)
        expected = {
            (row["scope"], row["window_start"], key, row["revision"], Decimal(spent) / 10**12)
            for row in rows
            for key, spent in zip(row["usage_key_id"], row["device_cost_low"], strict=True)
        }
        found = [(r[0], r[1], r["usage_key_id"], r["revision"], r["device_cost"]) for r in lines]
        assert sorted(found) == sorted(expected)


async def test_charges_at_a_cut_off_are_those_stored_up_to_it(
    revised: Database, worker: Connection, api: Connection
) -> None:
    stored = [row["batch_seq"] for row in await worker.fetch("SELECT batch_seq FROM charge")]
    for seq in range(-1, LAST + 1):
        found = await worker.fetchval("SELECT count(*) FROM charges_at($1)", seq)
        assert found == sum(one <= seq for one in stored)
    async with api.transaction():
        await ask_as(api, revised, "customer", "c-1", None)
        found = await api.fetchval("SELECT count(*) FROM charges_at(as_it_stands())")
    assert found == 10


async def test_numbers_of_facts_mean_what_their_names_say(worker: Connection) -> None:
    for kind in Kind:
        found = await worker.fetchval("SELECT is_reversal($1)", int(kind))
        assert found == (kind == Kind.REVERSAL)
    flags = await worker.fetch(
        "SELECT f AS flags, is_superseded(f) AS found FROM generate_series(0, 65535) f"
    )
    assert all(row["found"] == bool(row["flags"] & Flag.SUPERSEDED) for row in flags)


async def test_names_of_numbers_are_part_of_the_plan(worker: Connection) -> None:
    for call in ("is_reversal(kind)", "is_superseded(flags)"):
        plan = await worker.fetch(f"EXPLAIN (VERBOSE) SELECT {call} FROM usage_fact WHERE {call}")
        assert call.split("(")[0] not in "\n".join(row[0] for row in plan)
