"""Off-peak prices and prices of families of models, from their entry to the lines of an invoice."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import LedgerError
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from tests.flows.billing import NOVEMBER
from tests.flows.test_period_prices import agree, enter, issued, priced, settle
from tests.support.books import Buyer, Tokens

NIGHT: dict[str, Any] = {"meter": "input", "hours": "22:00-06:00 Europe/Copenhagen"}
DAY_TIME: dict[str, Any] = {"meter": "input", "hours": "06:00-22:00 Europe/Copenhagen"}
TOKENS = Tokens(uncached=1_000_000)


async def charged(connection: Connection) -> dict[tuple[datetime, str], Decimal]:
    rows = await connection.fetch(
        """SELECT c.day_start, k.model, sum(c.amount) AS amount FROM charge c
             JOIN usage_key k USING (usage_key_id) WHERE c.amount IS NOT NULL GROUP BY 1, 2"""
    )
    return {(row["day_start"], row["model"]): row["amount"] for row in rows}


async def test_a_night_costs_its_own_price_and_has_its_own_line(worker: Connection) -> None:
    books = await priced(worker, {**NIGHT, "amount": "2"}, billed_in="UTC")
    for hours, tokens in ((4, 1), (5, 10), (20, 100), (21, 1_000)):
        await books.usage(NOVEMBER + timedelta(hours=hours), Tokens(uncached=tokens * 10**6))
    await settle(worker)
    # Copenhagen is an hour ahead: night ends at five and begins at nine in the evening.
    assert await charged(worker) == {(NOVEMBER, "llama"): Decimal(2 * 1_001 + 5 * 110)}
    lines = [(text, units) for text, units, _ in await issued(worker)]
    assert sorted(units for _, units in lines) == [110_000_000, 1_001_000_000]
    (night,) = [text for text, units in lines if units == 1_001_000_000]
    assert NIGHT["hours"] in night
    assert len({text for text, _ in lines}) == 2
    await agree(worker)


async def test_hours_that_meet_are_refused_and_hours_that_part_a_day_are_not(
    worker: Connection,
) -> None:
    await priced(worker, {**NIGHT, "amount": "2"})
    await enter(worker, **DAY_TIME, amount="3")
    for hours in (
        "05:00-07:00 Europe/Copenhagen",
        "12:00-13:00 UTC",
        "sun 23:00-24:00 Europe/Copenhagen",
    ):
        with pytest.raises(LedgerError, match="both apply"):
            await enter(worker, meter="input", hours=hours, amount="1")
    with pytest.raises(LedgerError, match="names no hours"):
        await enter(worker, meter="input", hours="at night", amount="1")
    with pytest.raises(InputError, match="leave it out of a fee"):
        await enter(
            worker, **{**NIGHT, "meter": "fee"}, kind="recurring", every="month", amount="1"
        )


async def test_more_of_a_model_comes_before_less_of_it(worker: Connection) -> None:
    books = await priced(worker)
    for model, amount in (("gpt-*", "4"), ("gpt-5*", "3"), ("gpt-5-mini", "1")):
        await enter(worker, meter="input", model=model, amount=amount)
    for model in ("llama", "gpt-4o", "gpt-5", "gpt-5-mini"):
        await books.usage(NOVEMBER, TOKENS, buyer=Buyer(model=model))
    await settle(worker)
    amounts = {model: amount for (_, model), amount in (await charged(worker)).items()}
    assert amounts == {"llama": 5, "gpt-4o": 4, "gpt-5": 3, "gpt-5-mini": 1}
    await agree(worker)
