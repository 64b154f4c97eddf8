"""Lines of usage are stored run by run as they were said, and known again by what they are."""

from datetime import UTC, datetime
from hashlib import sha256
from struct import pack

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.cost.line_runs import LINE, SHARE, LineRuns
from ledger.store.copying import copy_binary
from ledger.store.cost.share_rows import ShareRows, StoredAs, digests_of
from ledger.store.queries import Connection
from tests.support.examples import at_depth

WINDOW = datetime(2026, 3, 2, tzinfo=UTC)
TERMS = ("EUR", 1, 1, 0, 1, 5, "owned", 60)
ENERGY, COST = st.integers(0, 2**40), st.integers(-(10**30), 10**30) | st.integers(-9, 9)
shares = st.dictionaries(st.integers(1, 2**40), st.tuples(ENERGY, COST, COST), max_size=4)
STORED = """
SELECT scope, usage_key_id, device_metered_mj, device_estimated_mj,
       ARRAY(SELECT amount_of(low, high)::text
               FROM unnest(gpu_cost_low, gpu_cost_high) AS c(low, high)) AS gpu
  FROM cost_share WHERE revision = 7 AND batch_seq = 9 AND recalled_at IS NULL ORDER BY scope
"""


def array(*numbers: int) -> bytes:
    """As PostgreSQL sends `bigint[]`."""
    head = pack(">iiIii", 1, 0, 20, len(numbers), 1)
    return head + b"".join(pack(">iq", 8, number) for number in numbers)


def amount(units: int) -> str:
    """1e-12 of a currency, written by hand."""
    digits = f"{abs(units):013d}"
    return f"{'-' if units < 0 else ''}{digits[:-12]}.{digits[-12:]}"


@settings(max_examples=at_depth(20))
@given(st.lists(shares, min_size=1, max_size=3))
async def test_lines_are_stored_as_they_were_said(
    worker: Connection, said: list[dict[int, tuple[int, int, int]]]
) -> None:
    rows = [
        (f"deployment:{n}", WINDOW, "usage", key, *TERMS, mj, 0, 0, 0, device, 0, gpu)
        for n, run in enumerate(said)
        for key, (mj, device, gpu) in run.items()
    ]
    runs = LineRuns.of_frame(pl.DataFrame(rows, LINE, orient="row"))
    assert sorted(runs.frame().rows()) == sorted(rows)
    stored = ShareRows("factory", runs, dict.fromkeys(range(len(runs.counts)), StoredAs(7, 9)))
    transaction = worker.transaction()
    await transaction.start()
    try:
        await copy_binary(worker, "cost_share", stored)
        found = [tuple(row) for row in await worker.fetch(STORED)]
    finally:
        await transaction.rollback()
    there = [(n, sorted(run.items())) for n, run in enumerate(said) if run]
    assert found == [
        (
            f"deployment:{n}",
            [key for key, _ in run],
            [mj for _, (mj, _, _) in run] if any(mj for _, (mj, _, _) in run) else None,
            None,
            [amount(gpu) for _, (_, _, gpu) in run] if any(gpu for *_, (*_, gpu) in run) else [],
        )
        for n, run in there
    ]
    assert stored.digests == [*digests_of(runs).values()]


def test_a_digest_is_of_all_arrays_one_after_the_other() -> None:
    row = ("deployment:a", WINDOW, "usage", 7, *TERMS, 1, 2, 3, 4, -5, 10**16 + 6, 0)
    digests = digests_of(LineRuns.of_frame(pl.DataFrame([row], LINE, orient="row")))
    values = (7, 1, 2, 3, 4, -1, 1, 0, 10**16 - 5, 6, 0)
    assert len(values) == len(SHARE) + 3
    assert digests == {
        ("deployment:a", WINDOW): sha256(b"".join(map(array, values))).digest(),
    }
