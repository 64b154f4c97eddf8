"""Usage windows, cards and charges, as they stand at a cut-off."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

import asyncpg

from ledger.domain.billing.subscription import Subscription
from ledger.domain.entity import LegalEntity
from ledger.domain.pricing.models import load_stored_price
from ledger.domain.pricing.rate_card import CardPrice, RateCard, UsageKey
from ledger.domain.pricing.rating import UsageTotals
from ledger.store.copying import copy_rows
from ledger.store.queries import Connection, load_queries

RATING = load_queries("pricing/rating")
CHARGE_COLUMNS = (
    *("customer_id", "usage_key_id", "window_start", "meter", "revision", "subscription_id"),
    *("quantity", "price_id", "currency", "amount", "unpriced"),
    *("cut_off_id", "batch_seq", "entity_id"),
)
CustomerWindow: TypeAlias = tuple[str, datetime]
LEAVES = ("uncached", "cache_read", "cache_write", "visible", "reasoning")
ChargeKey: TypeAlias = tuple[str, int, datetime, str]


@dataclass(frozen=True, slots=True)
class UsageWindow:
    """Totals of one customer, key and window."""

    customer_id: str
    window_start: datetime
    usage_key_id: int
    key: UsageKey
    totals: UsageTotals


@dataclass(frozen=True, slots=True)
class ChargeValue:
    """What a charge row says beside its key."""

    subscription_id: str | None
    quantity: int
    price_id: int | None
    currency: str | None
    amount: Decimal | None
    unpriced: str | None


@dataclass(frozen=True, slots=True)
class ChargedWindow:
    """What a customer was charged in a window on a subscription; zero where it is no more."""

    customer_id: str
    window_start: datetime
    subscription_id: str
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class UnpricedUsage:
    """A count of one meter that waits for a price from `first_window` to `last_window`, and why."""

    customer_id: str
    model: str
    tier: str
    meter: str
    reason: str
    quantity: int
    first_window: datetime
    last_window: datetime


async def list_entities(connection: Connection, *, entity_id: str | None) -> list[LegalEntity]:
    """Entities, one or all."""
    return await RATING["list_entities"].values(connection, LegalEntity, entity_id=entity_id)


async def find_touched_windows(
    connection: Connection, *, entity_id: str, since_seq: int, batch_seq: int
) -> list[CustomerWindow]:
    """Customers' windows touched by usage, prices or subscriptions since a cut-off, sorted."""
    given = {"entity_id": entity_id, "since_seq": since_seq, "batch_seq": batch_seq}
    rows = await RATING["find_touched_usage"].rows(connection, **given)
    rows += await RATING["find_repriced_usage"].rows(connection, **given)
    return sorted({(row["customer_id"], row["window_start"]) for row in rows})


async def find_changed_charges(
    connection: Connection, *, entity_id: str, since_seq: int, batch_seq: int
) -> list[CustomerWindow]:
    """Customers' windows whose charges were revised since a cut-off, sorted."""
    rows = await RATING["find_changed_charges"].rows(
        connection, entity_id=entity_id, since_seq=since_seq, batch_seq=batch_seq
    )
    return sorted((row["customer_id"], row["window_start"]) for row in rows)


async def sum_usage(
    connection: Connection, *, windows: Sequence[CustomerWindow], batch_seq: int
) -> list[UsageWindow]:
    """Totals of some customers' windows at a cut-off."""
    rows = await RATING["sum_usage"].rows(connection, **_arrays(windows), batch_seq=batch_seq)
    return [
        UsageWindow(
            row["customer_id"],
            row["window_start"],
            row["usage_key_id"],
            UsageKey(row["model"], row["tier"], row["adapter"], row["region"], row["context_band"]),
            UsageTotals(**{leaf: int(row[leaf]) for leaf in LEAVES}),
        )
        for row in rows
    ]


async def find_charges(
    connection: Connection, *, windows: Sequence[CustomerWindow]
) -> dict[ChargeKey, tuple[int, ChargeValue]]:
    """(revision, value) of the charges of some customers' windows as they stand."""
    rows = await RATING["find_charges"].rows(connection, **_arrays(windows))
    return {
        (row["customer_id"], row["usage_key_id"], row["window_start"], row["meter"]): (
            row["revision"],
            ChargeValue(
                row["subscription_id"],
                int(row["quantity"]),
                row["price_id"],
                row["currency"],
                row["amount"],
                row["unpriced"],
            ),
        )
        for row in rows
    }


async def find_subscriptions(
    connection: Connection, *, entity_id: str, batch_seq: int
) -> dict[str, list[Subscription]]:
    """Subscriptions of each customer as known at a cut-off."""
    subscriptions = await RATING["find_subscriptions"].values(
        connection, Subscription, entity_id=entity_id, batch_seq=batch_seq
    )
    found: dict[str, list[Subscription]] = defaultdict(list)
    for one in subscriptions:
        found[one.customer_id].append(one)
    return found


async def find_cards(
    connection: Connection, *, entity_id: str, batch_seq: int
) -> dict[str, RateCard]:
    """Cards of an entity with their prices, as known at a cut-off."""
    prices: dict[tuple[str, str], list[CardPrice]] = defaultdict(list)
    rows = await RATING["find_prices"].rows(connection, entity_id=entity_id, batch_seq=batch_seq)
    for row in rows:
        card = prices[row["rate_card_id"], row["currency"]]
        if row["price_id"] is not None:
            card.append(_card_price(row))
    return {name: RateCard(name, currency, card) for (name, currency), card in prices.items()}


async def find_price_currencies(
    connection: Connection, *, price_ids: Iterable[int]
) -> dict[int, str]:
    """The currency of each price."""
    rows = await RATING["find_price_currencies"].rows(connection, price_ids=list(price_ids))
    return {row["price_id"]: row["currency"] for row in rows}


async def append_charges(connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Append charge rows, in the order of CHARGE_COLUMNS."""
    await copy_rows(connection, "charge", CHARGE_COLUMNS, rows)


async def sum_charges_to_book(
    connection: Connection, *, windows: Sequence[CustomerWindow], batch_seq: int
) -> list[ChargedWindow]:
    """Priced charges of some customers' windows at a cut-off."""
    return await RATING["sum_charges_to_book"].values(
        connection, ChargedWindow, **_arrays(windows), batch_seq=batch_seq
    )


async def list_unpriced(
    connection: Connection,
    *,
    entity_id: str,
    batch_seq: int,
    customer_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[UnpricedUsage]:
    """Usage that waits for a price, by customer, model, tier, meter and reason."""
    return await RATING["list_unpriced"].values(
        connection,
        UnpricedUsage,
        entity_id=entity_id,
        batch_seq=batch_seq,
        customer_id=customer_id,
        since=since,
        until=until,
    )


def _card_price(row: asyncpg.Record) -> CardPrice:
    return CardPrice(
        price_id=row["price_id"],
        meter=row["meter"],
        model=row["model"],
        tier=row["tier"],
        adapter=row["adapter"],
        region=row["region"],
        band_from=row["band_from"],
        price=load_stored_price(row["kind"], row["params"]),
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
    )


def _arrays(windows: Sequence[CustomerWindow]) -> dict[str, list[object]]:
    return {
        "customers": [customer_id for customer_id, _ in windows],
        "windows": [window for _, window in windows],
    }
