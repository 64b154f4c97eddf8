"""Days of usage, cards and charges, as they stand at a cut-off."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import TypeAlias

import asyncpg

from ledger.domain.books.booking import Earned
from ledger.domain.entity import LegalEntity
from ledger.domain.period import WINDOW, Period
from ledger.domain.pricing.hours import read_hours
from ledger.domain.pricing.models import load_stored_price
from ledger.domain.pricing.price_list import ListedPrice, number_kinds, price_edges
from ledger.domain.pricing.rate_card import CardPrice, RateCard, UsageKey
from ledger.store.array_parameter import array_parameter
from ledger.store.connect import CutOff
from ledger.store.queries import Connection, Query, load_queries

RATING = load_queries("pricing/rating")
CustomerDay: TypeAlias = tuple[str, date]
# By customer; of very many, most have the same days, and share them.
CustomerDays: TypeAlias = dict[str, frozenset[date]]
_KEY = tuple(field.name for field in fields(UsageKey))
_EARNED = tuple(field.name for field in fields(Earned))
# A customer and the moments at which a day of it begins and ends.
CustomerPeriod: TypeAlias = tuple[str, datetime, datetime]


@dataclass(frozen=True, slots=True)
class UsedKind:
    """What was used on a card, from its first window to the end of its last."""

    rate_card_id: str
    key: UsageKey
    within: Period


@dataclass(frozen=True, slots=True)
class UnpricedUsage:
    """A count of one meter that waits for a price, of the days that begin at `first_day` to
    `last_day`, and why."""

    customer_id: str
    model: str
    tier: str
    meter: str
    reason: str
    quantity: int
    first_day: datetime
    last_day: datetime


@dataclass(frozen=True, slots=True)
class DayPrices:
    """What some days cost: prices of usage spelled out, what the days add by prices that look at a
    period as a whole, and where days begin in each zone that is billed in."""

    listed: Sequence[ListedPrice]
    pooled: Sequence[Mapping[str, object]]
    midnights: Mapping[str, Sequence[datetime]]


@dataclass(frozen=True, slots=True)
class Appended:
    """How many charges were appended; none where it `lacks` prices of any usage."""

    lacks: bool
    charges: int


async def list_entities(connection: Connection, *, entity_id: str | None) -> list[LegalEntity]:
    """Entities, one or all."""
    return await RATING["list_entities"].values(connection, LegalEntity, entity_id=entity_id)


async def find_rated_to(
    connection: Connection, *, entity_id: str | None, customer_id: str | None, batch_seq: int
) -> datetime | None:
    """Up to when what was stored is charged, of an entity, a customer or all; None before that."""
    given = {"entity_id": entity_id, "customer_id": customer_id, "batch_seq": batch_seq}
    (row,) = await RATING["find_rated_to"].rows(connection, **given)
    rated_to: datetime | None = row["drawn_at"]
    return rated_to


async def find_touched_days(
    connection: Connection, *, entity: LegalEntity, since_seq: int, batch_seq: int
) -> CustomerDays:
    """Customers' days, in the entity's zone, touched by usage, prices or subscriptions since a
    cut-off."""
    given = {
        "entity_id": entity.entity_id,
        "zone": entity.zone,
        "since_seq": since_seq,
        "batch_seq": batch_seq,
    }
    touched: CustomerDays = {}
    shared: dict[frozenset[date], frozenset[date]] = {}
    for name in ("find_touched_days", "find_repriced_days"):
        for row in await RATING[name].rows(connection, **given):
            days = touched.get(row["customer_id"], frozenset()).union(row["days"])
            touched[row["customer_id"]] = shared.setdefault(days, days)
    return touched


async def count_changed_charges(
    connection: Connection, *, entity: LegalEntity, since_seq: int, batch_seq: int
) -> dict[date, int]:
    """How many rows of charges were stored since a cut-off, by day in the entity's zone."""
    rows = await RATING["count_changed_charges"].rows(
        connection,
        entity_id=entity.entity_id,
        zone=entity.zone,
        since_seq=since_seq,
        batch_seq=batch_seq,
    )
    return {row["day"]: int(row["rows"]) for row in rows}


async def has_changed_charges(connection: Connection, *, entity_id: str, batch_seq: int) -> bool:
    """Whether charges of an entity were stored after a cut-off."""
    changed = await RATING["has_changed_charges"].value(
        connection, entity_id=entity_id, batch_seq=batch_seq
    )
    return bool(changed)


async def has_named_prices(connection: Connection, *, batch_seq: int) -> bool:
    """Whether any price has ever named a project, agent or outcome up to a cut-off."""
    return bool(await RATING["has_named_prices"].value(connection, batch_seq=batch_seq))


async def find_kinds(
    connection: Connection, *, periods: Sequence[CustomerPeriod], batch_seq: int
) -> list[UsedKind]:
    """What customers used in some periods on which card, as known at a cut-off."""
    given = arrays_of(periods)
    return await _kinds(connection, RATING["find_kinds"], **given, batch_seq=batch_seq)


async def find_kinds_of_entities(
    connection: Connection,
    *,
    periods: Sequence[tuple[str, Period]],
    customer_id: str | None,
    batch_seq: int,
) -> list[UsedKind]:
    """What customers of entities, or one of them, used in periods of these."""
    return await _kinds(
        connection,
        RATING["find_kinds_of_entities"],
        entities=[entity_id for entity_id, _ in periods],
        sinces=[period.start for _, period in periods],
        untils=[period.end for _, period in periods],
        customer_id=customer_id,
        batch_seq=batch_seq,
    )


async def _kinds(connection: Connection, query: Query, **given: object) -> list[UsedKind]:
    return [
        UsedKind(
            row["rate_card_id"],
            usage_key_of(row),
            Period(row["first_window"], row["last_window"] + WINDOW),
        )
        for row in await query.rows(connection, **given)
    ]


async def prefer_hashes(connection: Connection) -> None:
    """Group in memory, for the transaction."""
    await RATING["prefer_hashes"].row(connection)


async def join_by_hashes(connection: Connection) -> None:
    """Read once what many rows name, and group in memory, for the transaction."""
    await RATING["join_by_hashes"].row(connection)


async def append_charges(
    connection: Connection,
    *,
    entity: LegalEntity,
    periods: Sequence[CustomerPeriod],
    prices: DayPrices,
    cut_off: CutOff,
    stored_seq: int,
) -> int | None:
    """Append what days come to and count at a cut-off less what is stored of them; returns how many
    charges, or None where nothing was appended because prices of some usage are not listed."""
    numbers = number_kinds(prices.listed)
    listed = [{**each.as_row(), "kind": numbers[each.key]} for each in prices.listed]
    appended = await RATING["append_charges"].first(
        connection,
        Appended,
        **arrays_of(periods),
        entity_id=entity.entity_id,
        entity_zone=entity.zone,
        **zone_arrays(prices.midnights),
        price_edges=sorted(price_edges(prices.listed)),
        kinds=[{**asdict(key), "kind": number} for key, number in numbers.items()],
        listed=listed,
        pooled=list(prices.pooled),
        batch_seq=cut_off.batch_seq,
        cut_off_id=cut_off.cut_off_id,
        stored_seq=stored_seq,
    )
    return None if appended is None or appended.lacks else appended.charges


async def list_zones(connection: Connection, *, entity_id: str, batch_seq: int) -> list[str]:
    """Zones that subscriptions of an entity's customers are billed in, as known at a cut-off."""
    rows = await RATING["list_zones"].rows(connection, entity_id=entity_id, batch_seq=batch_seq)
    return [row["zone"] for row in rows]


async def find_cards(
    connection: Connection,
    *,
    batch_seq: int,
    entity_id: str | None = None,
    rate_card_ids: Sequence[str] | None = None,
) -> dict[str, RateCard]:
    """Cards of an entity, some, or all that may be seen, with their prices at a cut-off."""
    prices: dict[tuple[str, str], list[CardPrice]] = defaultdict(list)
    rows = await RATING["find_prices"].rows(
        connection, entity_id=entity_id, rate_card_ids=rate_card_ids, batch_seq=batch_seq
    )
    for row in rows:
        card = prices[row["rate_card_id"], row["currency"]]
        if row["price_id"] is not None:
            card.append(card_price(row))
    return {name: RateCard(name, currency, card) for (name, currency), card in prices.items()}


async def sum_charges_to_book(
    connection: Connection, *, entity_id: str, days: Mapping[str, Period], batch_seq: int
) -> dict[str, list[Earned]]:
    """Priced charges of an entity's days at a cut-off that the journal entries of these natural
    keys have not booked yet, by natural key."""
    earned: dict[str, list[Earned]] = defaultdict(list)
    for row in await RATING["sum_charges_to_book"].rows(
        connection,
        entity_id=entity_id,
        natural_keys=list(days),
        sinces=[day.start for day in days.values()],
        untils=[day.end for day in days.values()],
        batch_seq=batch_seq,
    ):
        earned[row["natural_key"]].append(Earned(*(row[name] for name in _EARNED)))
    return earned


async def list_unpriced(
    connection: Connection,
    *,
    entity_id: str,
    batch_seq: int,
    customer_id: str | None = None,
    subscription_id: str | None = None,
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
        subscription_id=subscription_id,
        since=since,
        until=until,
    )


def zone_arrays(midnights: Mapping[str, Sequence[datetime]]) -> dict[str, list[str]]:
    """Midnights of zones as the columns that queries take."""
    # An array of arrays is a rectangle, so each is sent as a text.
    texts = [
        array_parameter([moment.isoformat() for moment in some]) for some in midnights.values()
    ]
    return {"zones": list(midnights), "midnights": texts}


def card_price(row: asyncpg.Record) -> CardPrice:
    """A price of a card, as a query says it."""
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
        name=row["name"],
        hours=read_hours(row["hours"]) if row["hours"] else None,
        project_id=row["project_id"],
        agent_id=row["agent_id"],
    )


def usage_key_of(row: asyncpg.Record) -> UsageKey:
    """What a row of usage says that a price may depend on."""
    return UsageKey(**{name: row[name] for name in _KEY})


def arrays_of(periods: Sequence[CustomerPeriod]) -> dict[str, list[object]]:
    """Periods of customers as the columns that queries take."""
    return {
        "customers": [customer_id for customer_id, _, _ in periods],
        "sinces": [since for _, since, _ in periods],
        "untils": [until for _, _, until in periods],
    }
