"""Writes and reads rate cards, their prices, and who is on which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ledger.domain.pricing.hours import read_hours
from ledger.domain.pricing.models import load_price
from ledger.domain.pricing.price_model import PriceModel
from ledger.domain.pricing.rate_card import CardPrice
from ledger.store.dated import DatedTable
from ledger.store.queries import Connection, load_queries

PRICES = load_queries("pricing/prices")
CARD_PRICES = DatedTable(
    "price",
    (
        *("rate_card_id", "meter", "project_id", "agent_id", "model", "tier", "adapter", "region"),
        *("band_from", "hours", "name"),
    ),
    PRICES["find_open_prices"],
    PRICES["supersede_prices"],
    PRICES["insert_price"],
)
SUBSCRIPTIONS = DatedTable(
    "subscription",
    ("subscription_id", "customer_id", "models"),
    PRICES["find_open_subscriptions"],
    PRICES["supersede_subscriptions"],
    PRICES["insert_subscription"],
)


@dataclass(frozen=True, slots=True)
class RateCardTerms:
    """Whose a rate card is, and in which currency its prices are."""

    rate_card_id: str
    entity_id: str
    name: str
    currency: str


@dataclass(frozen=True, slots=True)
class PricingSubscription:
    """A subscription that prices what a customer uses, whose it is, and the models that it is for
    (none: all); whether it `applies` to the one that was asked for."""

    subscription_id: str
    payer_id: str
    rate_card_id: str
    models: list[str]
    applies: bool


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What usage of a model cost on a day, in a currency."""

    currency: str
    amount: Decimal


async def list_currencies(connection: Connection, entity_id: str) -> list[str]:
    """The currencies in which an entity sells: its own, and those of its cards."""
    rows = await PRICES["list_currencies"].rows(connection, entity_id=entity_id)
    return [row["currency"] for row in rows]


async def sum_model_cost(
    connection: Connection, *, customer_id: str, model: str, at: datetime, batch_seq: int
) -> list[ModelCost]:
    """What a customer's usage of a model was allocated on the day of a moment, by currency."""
    return await PRICES["sum_model_cost"].values(
        connection, ModelCost, customer_id=customer_id, model=model, at=at, batch_seq=batch_seq
    )


async def list_pricing(
    connection: Connection, *, customer_id: str, model: str, at: datetime, batch_seq: int
) -> list[PricingSubscription]:
    """The subscriptions that price what a customer uses at a moment, by id."""
    return await PRICES["list_pricing"].values(
        connection,
        PricingSubscription,
        customer_id=customer_id,
        model=model,
        at=at,
        batch_seq=batch_seq,
    )


async def find_rate_card(connection: Connection, rate_card_id: str) -> RateCardTerms | None:
    """A rate card, or None."""
    return await PRICES["find_rate_card"].first(
        connection, RateCardTerms, rate_card_id=rate_card_id
    )


async def insert_rate_card(
    connection: Connection, values: Mapping[str, Any], *, batch_seq: int
) -> None:
    """Store a new rate card."""
    await PRICES["insert_rate_card"].run(connection, **values, batch_seq=batch_seq)


async def list_unit_prices(
    connection: Connection, rate_card_id: str, *, meter: str, at: datetime
) -> list[PriceModel]:
    """Prices by the unit of a meter on a card that are for all models, as recorded now."""
    rows = await PRICES["list_unit_prices"].rows(
        connection, rate_card_id=rate_card_id, meter=meter, at=at
    )
    return [load_price(row["kind"], row["params"]) for row in rows]


async def copy_prices(
    connection: Connection, rate_card_id: str, *, like: str, batch_seq: int
) -> None:
    """Store the prices of a card on another too, but where that has prices of the same match."""
    await PRICES["copy_prices"].run(
        connection, rate_card_id=rate_card_id, like=like, batch_seq=batch_seq
    )


async def list_open_prices(connection: Connection, rate_card_id: str) -> list[CardPrice]:
    """Every price of a card as recorded now, oldest first; InvalidInputError where no model reads
    one."""
    rows = await PRICES["list_open_prices"].rows(connection, rate_card_id=rate_card_id)
    return [_card_price(**row) for row in rows]


async def insert_prices(
    connection: Connection,
    priced: Sequence[Mapping[str, object]],
    *,
    rate_card_id: str,
    valid_from: datetime,
    batch_seq: int,
) -> None:
    """Store prices by token of a card, each with meter, model, tier, band_from and params."""
    await PRICES["insert_prices"].run(
        connection,
        rate_card_id=rate_card_id,
        priced=list(priced),
        valid_from=valid_from,
        batch_seq=batch_seq,
    )


def _card_price(
    kind: str, params: Mapping[str, object], hours: str | None, **values: Any
) -> CardPrice:
    held = read_hours(hours) if hours else None
    return CardPrice(price=load_price(kind, params), hours=held, **values)
