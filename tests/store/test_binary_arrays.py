"""Runs of a column reach PostgreSQL as arrays, element by element; wrong ones are refused."""

from decimal import Decimal

import asyncpg
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.domain.apportion import amount_of
from ledger.store.binary import Rows
from ledger.store.binary_arrays import arrays
from ledger.store.copying import copy_binary
from ledger.store.queries import Connection

MOST = 2**63 - 1
runs = st.lists(
    st.lists(st.tuples(st.integers(-MOST, MOST), st.integers(-(10**30), 10**30)), max_size=5),
    min_size=1,
    max_size=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(runs)
async def test_arrays_hold_what_was_said(
    owner: Connection, said: list[list[tuple[int, int]]]
) -> None:
    flat = [pair for run in said for pair in run]
    numbers = pl.Series("numbers", [pair[0] for pair in flat], dtype=pl.Int64)
    amounts = pl.Series("amounts", [pair[1] for pair in flat], dtype=pl.Int128)
    counts = pl.Series([len(run) for run in said])
    frame = pl.DataFrame({"batch_seq": list(range(len(said)))}).with_columns(
        arrays(numbers, counts), arrays(amounts, counts)
    )
    await owner.execute(
        """CREATE TEMPORARY TABLE IF NOT EXISTS runs
             (batch_seq bigint, numbers bigint[], amounts numeric[]); TRUNCATE runs"""
    )
    await copy_binary(owner, "runs", Rows.of(frame, ("numbers", "amounts", "batch_seq")))
    found = await owner.fetch("SELECT numbers, amounts FROM runs ORDER BY batch_seq")
    assert [(row["numbers"], [Decimal(amount) for amount in row["amounts"]]) for row in found] == [
        ([n for n, _ in run], [amount_of(units) for _, units in run]) for run in said
    ]


WRONG = {
    "an amount too fine": {"gpu_cost": "'{0.0000000000001}'"},
    "an amount that is none": {"gpu_cost": "'{NaN}'"},
    "an amount without end": {"device_cost": "'{Infinity}'"},
    "an amount unknown": {"overhead_cost": "'{NULL}'"},
    "an amount too many": {"gpu_cost": "'{1,2}'"},
    "energy unknown": {"host_mj": "'{NULL}'"},
    "energy of no line": {"device_metered_mj": "'{}'"},
    "usage of nobody": {"usage_key_id": "'{0}'"},
}
FIELDS = {
    **{"scope": "'deployment:a'", "window_start": "'2026-03-02Z'", "usage_key_id": "'{7}'"},
    **{"revision": "1", "batch_seq": "1", "entity_id": "'factory'"},
    **dict.fromkeys(("device_metered_mj", "device_estimated_mj"), "'{1}'"),
    **dict.fromkeys(("host_mj", "overhead_mj"), "'{1}'"),
    **dict.fromkeys(("device_cost", "overhead_cost", "gpu_cost"), "'{0.000000000001}'"),
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
    *("device_cost", "overhead_cost", "gpu_cost"),
}
