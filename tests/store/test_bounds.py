"""The database refuses what is out of bounds, whoever writes it."""

from collections.abc import Callable, Coroutine
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
import pytest

from ledger.store.queries import Connection
from tests.support.books import Books

DAY = datetime(2024, 1, 1, tzinfo=UTC)
FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 1, 1, tzinfo=UTC)
Write = Callable[[Books], Coroutine[Any, Any, None]]
WRITES: dict[str, Write] = {
    "tariff of year 1": lambda b: b.tariff([(FIRST, DAY, "1")]),
    "tariff to year 9999": lambda b: b.tariff([(DAY, LAST, "1")]),
    "tariff of 1e64": lambda b: b.tariff([(DAY, DAY.replace(day=2), "1e64")]),
    "rate of 59 digits": lambda b: b.lease(DAY, rate="1" + "0" * 58),
    "two thousand million GPUs": lambda b: b.lease(DAY, gpu_count=2**31 - 1),
    "lease of year 1": lambda b: b.lease(FIRST),
    "in service in 9999": lambda b: b.owned(LAST),
    "bought for 1e64": lambda b: b.owned(DAY, price="1e64"),
    "a life of 100,000 years": lambda b: b.owned(DAY, life_months=1_200_000),
    "PUE of 1e30": lambda b: b.pue(DAY, pue="1e30"),
    "PUE to year 9999": lambda b: b.pue(DAY, LAST),
    "deployment to year 9999": lambda b: b.deployment(DAY, LAST),
    "rate of exchange of 1e10": lambda b: b.fx("EUR", "USD", date(2024, 1, 1), "1e10"),
    "rate of exchange of year 1": lambda b: b.fx("EUR", "USD", date(1, 1, 1), "1"),
}


@pytest.mark.parametrize("what", WRITES)
async def test_second_wall_refuses(worker: Connection, what: str) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(DAY, asset_id="there")
    with pytest.raises(asyncpg.CheckViolationError, match="in_bounds"):
        await WRITES[what](books)
    stored = await worker.fetchval("SELECT count(*) FROM asset")
    assert stored == 1


async def test_a_price_of_1e64_is_refused(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await worker.execute("INSERT INTO rate_card VALUES ('card', 'factory', 'card', 'EUR', 1)")
    with pytest.raises(asyncpg.CheckViolationError, match="amount_in_bounds"):
        await worker.execute(
            """INSERT INTO rate_card_price (rate_card_id, meter, kind, params, valid, recorded)
               VALUES ('card', 'output_visible', 'per_unit', $1,
                       tstzrange('2024-01-01Z', NULL), int8range(1, NULL))""",
            {"amount": "1e64", "per": 1},
        )


@pytest.mark.parametrize(("kind", "decimals"), [("amount", 12), ("quantity", 0)])
async def test_a_number_is_refused_that_is_too_fine_or_none(
    worker: Connection, kind: str, decimals: int
) -> None:
    """Zeros behind the point say nothing, and what is unknown is let through."""
    text = f"SELECT $1::text::{kind}::text"
    finest = "1." + "3".rjust(decimals, "0") if decimals else "13"
    for fine in (finest, f"-{finest}", "1." + "0" * 30, "1" + "0" * 40, None):
        assert await worker.fetchval(text, fine) == fine
    point = "" if decimals else "."
    for wrong in ("NaN", "Infinity", "-Infinity", f"{finest}{point}1", f"-{finest}{point}1000"):
        with pytest.raises(asyncpg.CheckViolationError):
            await worker.fetchval(text, wrong)
