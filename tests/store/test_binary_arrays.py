"""Runs of a column reach PostgreSQL as arrays, element by element; wrong ones are refused."""

import asyncpg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.apportion import amount_of
from ledger.store.binary import Rows
from ledger.store.binary_arrays import arrays
from ledger.store.copying import copy_binary
from ledger.store.queries import Connection
from tests.support.examples import at_depth

MOST = 2**63 - 1
runs = st.lists(st.lists(st.integers(-MOST, MOST), max_size=5), min_size=1, max_size=5)


@settings(max_examples=at_depth(25))
@given(runs)
async def test_arrays_hold_what_was_said(owner: Connection, said: list[list[int]]) -> None:
    flat = [number for run in said for number in run]
    numbers = pl.Series("numbers", flat, dtype=pl.Int64)
    counts = pl.Series([len(run) for run in said])
    frame = pl.DataFrame({"batch_seq": list(range(len(said)))}).with_columns(
        arrays(numbers, counts)
    )
    await owner.execute(
        """CREATE TEMPORARY TABLE IF NOT EXISTS runs (batch_seq bigint, numbers bigint[]);
           TRUNCATE runs"""
    )
    await copy_binary(owner, "runs", Rows.of(frame, ("numbers", "batch_seq")))
    found = await owner.fetch("SELECT numbers FROM runs ORDER BY batch_seq")
    assert [row["numbers"] for row in found] == said


AMOUNTS = [0, 1, -1, 10**16 - 1, 10**16, -(10**16), -(10**16) - 1, 3 * 10**30, -(3 * 10**30)]


async def test_a_cost_is_its_two_numbers(worker: Connection) -> None:
    for units in AMOUNTS:
        high, low = divmod(units, 10**16)
        found = await worker.fetchval("SELECT amount_of($1, $2)", low, high)
        assert found == amount_of(units)
    assert await worker.fetchval("SELECT amount_of(7, NULL)") == amount_of(7)
    assert await worker.fetchval("SELECT amount_of(NULL, NULL)") == 0


WRONG = {
    "an amount unknown": {"overhead_cost_low": "'{NULL}'"},
    "an amount too many": {"gpu_cost_low": "'{1,2}'"},
    "tens of thousands unknown": {"device_cost_high": "'{NULL}'"},
    "tens of thousands of no line": {"gpu_cost_high": "'{}'"},
    "energy unknown": {"host_mj": "'{NULL}'"},
    "energy of no line": {"device_metered_mj": "'{}'"},
    "usage of nobody": {"usage_key_id": "'{0}'"},
}
FIELDS = {
    **{"scope": "'deployment:a'", "window_start": "'2026-03-02Z'", "usage_key_id": "'{7}'"},
    **{"revision": "1", "batch_seq": "1", "entity_id": "'factory'"},
    **dict.fromkeys(("device_metered_mj", "device_estimated_mj"), "'{1}'"),
    **dict.fromkeys(("host_mj", "overhead_mj"), "'{1}'"),
    **dict.fromkeys(("device_cost_low", "overhead_cost_low", "gpu_cost_low"), "'{1}'"),
}


def insert(changed: dict[str, str]) -> str:
    said = FIELDS | changed
    return f"INSERT INTO cost_share ({', '.join(said)}) VALUES ({', '.join(said.values())})"


@pytest.mark.parametrize("wrong", WRONG)
async def test_the_database_refuses_lines_that_are_none(worker: Connection, wrong: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await worker.execute(insert(WRONG[wrong]))


async def test_what_is_right_is_taken(worker: Connection) -> None:
    await worker.execute(insert({}))
    nothing = dict.fromkeys(FIELDS.keys() & ARRAYS, "'{}'")
    await worker.execute(insert(nothing | {"revision": "2"}))


ARRAYS = {
    *("usage_key_id", "device_metered_mj", "device_estimated_mj", "host_mj", "overhead_mj"),
    *("device_cost_low", "overhead_cost_low", "gpu_cost_low"),
}
