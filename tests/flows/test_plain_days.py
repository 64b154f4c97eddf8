"""Whatever cards, subscriptions and usage say: many days at once come to what a few at a time do,
which go another way, to the last digit."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import count, product
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.domain.metering.key import UsageKeyRow, usage_key
from ledger.flows.pricing.plain_days import PLAIN_FROM
from ledger.flows.pricing.rate import rate
from ledger.flows.stage import Stage, try_stage
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.support.database import Database, run_apart

pytestmark = pytest.mark.timeout(180)

NOW = datetime(2026, 4, 1, tzinfo=UTC)
# A clock goes forward in it.
FIRST = datetime(2026, 3, 25, tzinfo=UTC)
BEFORE = "2020-01-01T00:00:00Z"
DAYS, CUSTOMERS = 5, 30
CARDS = ("list", "pooled", "other")
METERS = ("input_uncached", "input_cache_read", "input_cache_write", "output_visible")
AMOUNTS = ("1.25", "0", "0.000001", "3", "7.10", "999999999999", "1000000000000000", "0.00")
ENTERED = (
    "INSERT INTO entity (entity_id, currency, zone, invoice_prefix, batch_seq)"
    " VALUES ('e', 'EUR', 'Europe/Copenhagen', 'E', 1)",
    "INSERT INTO rate_card (rate_card_id, entity_id, name, currency, batch_seq)"
    " SELECT c, 'e', c, 'EUR', 1 FROM unnest(ARRAY['list', 'pooled', 'other']) c",
    f"INSERT INTO customer (customer_id, entity_id, batch_seq)"
    f" SELECT 'c-' || n, 'e', 1 FROM generate_series(0, {CUSTOMERS - 1}) n",
)
STORED = """
SELECT customer_id, day_start, entity_id, subscription_id, payer_id, currency, unpriced,
       usage_key_id, meter, price_id, quantity::text, amount::text
  FROM charge ORDER BY 1, 2, 8, 9, 10, 7
"""
COUNTED = "SELECT to_jsonb(d) - 'batch_seq' - 'cut_off_id' AS day FROM usage_day d ORDER BY 1"


# Each rolls back what it entered.
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_many_days_at_once_come_to_what_few_do(database: Database, seed: int) -> None:
    few, many = run_apart(_both(database.superuser_url, Random(seed)))
    assert few == many


async def test_days_that_are_plain_go_through_columns(superuser: Connection) -> None:
    """Nothing else makes arrays in the order of usage keys and meters."""
    async with superuser.transaction():
        await _enter(superuser, Random(7), odd=False)
        await _run(superuser, rate)
        rows = await superuser.fetch("SELECT usage_key_id FROM charge_day")
        assert len(rows) > PLAIN_FROM
        assert all(row["usage_key_id"] == sorted(row["usage_key_id"]) for row in rows)


async def _both(url: str, random: Random) -> tuple[object, object]:
    connection = await connect(url)
    try:
        await connection.execute("SET session_replication_role = replica")
        whole = connection.transaction()
        await whole.start()
        await _enter(connection, random, odd=True)
        few = await _rated(connection, replace(rate, chunk_parts=PLAIN_FROM - 1))
        return few, await _rated(connection, rate)
    finally:
        await connection.close()


async def _rated(connection: Connection, stage: Stage) -> object:
    """What a trial of the stage stores."""
    trial = connection.transaction()
    await trial.start()
    try:
        return await _run(connection, stage)
    finally:
        await trial.rollback()


async def _run(connection: Connection, stage: Stage) -> object:
    tried = await try_stage(connection, stage, entity_id=None, now=NOW)
    assert not any(tried.failed.values())
    charges = [tuple(row) for row in await connection.fetch(STORED)]
    return charges, [row["day"] for row in await connection.fetch(COUNTED)]


async def _enter(connection: Connection, random: Random, *, odd: bool) -> None:
    for text in ENTERED:
        await connection.execute(text)
    # Not all that is stored is known at a cut-off before it.
    await connection.execute("SELECT setval('batch_seq', 5)")
    await _insert(connection, "rate_card_price", list(_prices(random, odd=odd)))
    used: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for n in range(CUSTOMERS):
        subscriptions = _subscriptions(random, f"c-{n}", 2 * n, odd=odd)
        used["subscription"] += subscriptions
        # Fewer units than none have no price where they are priced together.
        signs = (1,) if subscriptions[0]["rate_card_id"] == "pooled" else (1, 1, -1)
        for key in [_key(random, f"c-{n}") for _ in range(3)]:
            used["usage_key"].append(asdict(key))
            for _ in range(random.randrange(3, 12)):
                for table, row in _counts(random, key, signs, odd=odd):
                    used[table].append(row)
    for table, rows in used.items():
        await _insert(connection, table, rows)


async def _insert(connection: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    await connection.execute(
        f"INSERT INTO {table} OVERRIDING SYSTEM VALUE"
        f" SELECT DISTINCT t.* FROM jsonb_populate_recordset(NULL::{table}, $1) t",
        rows,
    )


def _prices(random: Random, *, odd: bool) -> Iterator[dict[str, Any]]:
    edge = _moment(random).isoformat()
    numbers = count(1)
    for card, meter in product(CARDS, (*METERS, "requests")):
        several: list[dict[str, Any]] = [{"valid": f"[{BEFORE},{edge})"}, {"valid": f"[{edge},)"}]
        several += [{"model": "m-1"}, {"model": "m-*"}, {"band_from": 31_999}, {"project_id": "p"}]
        if meter == "output_visible":
            several += [{"model": "m-2", "hours": "mon-fri 22:00-06:00 Europe/Copenhagen"}]
        for price in several:
            if odd and random.random() < 0.3:
                continue
            params: dict[str, Any] = {"amount": random.choice(AMOUNTS), "per": 10**6}
            kind = "per_unit"
            if card == "pooled" and random.random() < 0.5:
                kind, params = "package", {"amount": "2", "size": 1_000}
            row = {"price_id": next(numbers), "rate_card_id": card, "meter": meter, "name": ""}
            known = {"recorded": "[1,)", "valid": f"[{BEFORE},)", "kind": kind, "params": params}
            yield row | known | price


def _subscriptions(random: Random, name: str, place: int, *, odd: bool) -> list[dict[str, Any]]:
    row = {
        "customer_id": name,
        "recorded": "[1,)",
        "anchor_day": 1,
        "models": [],
        "valid": f"[{BEFORE},)",
    }
    row |= {"zone": "Europe/Copenhagen", "rate_card_id": random.choice(("list", "list", "other"))}
    rows = [row]
    if odd:
        row["rate_card_id"] = random.choice((*CARDS, "list", "list"))
        match random.randrange(8):
            case 0:
                row["zone"] = "America/New_York"
            case 1:
                row["models"] = ["m-1"]
                rows.append(row | {"models": ["m-2"], "rate_card_id": "other"})
            case 2:
                edge = _moment(random).isoformat()
                row["valid"] = f"[{BEFORE},{edge})"
                rows.append(row | {"valid": f"[{edge},)", "rate_card_id": "other"})
            case 3:
                row["valid"] = f"[{_moment(random).isoformat()},)"
    return [
        each | {"subscription_row_id": place + n, "subscription_id": f"s-{place + n}"}
        for n, each in enumerate(rows)
    ]


def _key(random: Random, name: str) -> UsageKeyRow:
    return usage_key(
        entity_id="e",
        customer_id=name,
        who=(name, random.choice(("", "p")), "", ""),
        tier="standard",
        what=(random.choice(("m-1", "m-2", "m-3", "else")), "", ""),
        context_band=random.choice((0, 1)),
    )


def _counts(
    random: Random, key: UsageKeyRow, signs: Sequence[int], *, odd: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is stored of a request: of one with an extra or a mark, that beside its count."""
    row = {"customer_id": key.customer_id, "usage_key_id": key.usage_key_id}
    row |= {"window_start": _moment(random).isoformat(), "batch_seq": random.randrange(1, 5)}
    chance = random.random() if odd else 1
    if chance < 0.03:
        yield "extra_delta", row | {"meter": "input_audio", "quantity": random.randrange(1, 9)}
    elif chance < 0.06:
        unknown = ("input", "output", "cached", "written", "reasoning")
        nothing = dict.fromkeys((f"{name}_unknown" for name in unknown), 0)
        yield "usage_mark", row | nothing | {"estimated": 1, "incomplete": 0}
    most = 2**62 if chance < 0.07 else 10**9
    counts = dict.fromkeys(("uncached", "cache_read", "cache_write", "visible", "reasoning"), 0)
    for name in random.sample([*counts], 2):
        counts[name] = random.choice(signs) * random.choice((most, 1, 5, 10**6))
    yield (
        "usage_delta",
        row | counts | {"requests": random.choice(signs) * random.choice((0, 1, 3))},
    )


def _moment(random: Random) -> datetime:
    return FIRST + timedelta(minutes=15 * random.randrange(96 * DAYS))
