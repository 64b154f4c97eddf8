"""Slow facts that no stage can work with, put past the walls that keep them out."""

from datetime import datetime
from typing import Any

from ledger.store.queries import Connection
from tests.support.books import Books

# More digits than the books multiply.
TOO_MUCH = "1" + "0" * 100 + "1"
WALLS = (
    ("asset", "amounts_in_bounds"),
    ("asset", "life_in_bounds"),
    ("asset", "in_service_in_bounds"),
    ("asset", "valid_in_bounds"),
    ("tariff_price", "price_in_bounds"),
    ("facility_pue", "pue_in_bounds"),
    ("rate_card_price", "amount_in_bounds"),
)
POISONS = ("rate", "power", "pue", "life")


async def open_walls(owner: Connection) -> None:
    """Take the walls down, as a mistake of ours or an older schema would."""
    for table, name in WALLS:
        await owner.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


async def poison(books: Books, kind: str, since: datetime, until: datetime) -> None:
    """An asset `rack-bad` of entity `bad` at `site-bad`, one number of which is out of hand."""
    place: dict[str, Any] = {
        **{"entity_id": "bad", "facility_id": "site-bad", "asset_id": "rack-bad"}
    }
    if kind == "life":
        await books.owned(since, None, life_months=1_200_000, **place)
    else:
        rate = TOO_MUCH if kind == "rate" else "2"
        await books.lease(since, rate=rate, all_in=False, **place)
    await books.pue(since, pue=TOO_MUCH if kind == "pue" else "1.2", facility_id="site-bad")
    price = TOO_MUCH if kind == "power" else "100"
    await books.tariff([(since, until, price)], tariff_id="bad-power", facility_id="site-bad")


async def poison_price(connection: Connection, rate_card_id: str, since: datetime) -> None:
    """A price of output on a card with more digits than a charge can hold."""
    async with connection.transaction():
        await connection.execute(
            """INSERT INTO rate_card_price (rate_card_id, meter, kind, params, valid, recorded)
               VALUES ($1, 'output_visible', 'per_unit', $2, tstzrange($3, NULL),
                       int8range(draw_batch_seq(), NULL))""",
            rate_card_id,
            {"amount": TOO_MUCH, "per": 1},
            since,
        )
