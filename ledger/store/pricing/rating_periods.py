"""What prices need that look at a billing period as a whole, and what they add to charges."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from ledger.domain.entity import LegalEntity
from ledger.domain.period import FAR, Period
from ledger.domain.pricing.discounts import UsageCharge
from ledger.domain.pricing.period_charges import DayUse, PeriodAmount
from ledger.domain.pricing.price_list import ListedPrice
from ledger.domain.pricing.subscription import Subscription
from ledger.store.connect import CutOff
from ledger.store.pricing.rating import (
    RATING,
    CustomerPeriod,
    arrays_of,
    usage_key_of,
    zone_arrays,
)
from ledger.store.queries import Connection

# What some customer used under a subscription from a moment until another.
SubscribedPeriod: TypeAlias = tuple[str, str, datetime, datetime]


@dataclass(frozen=True, slots=True)
class UsageCost:
    """What usage of a kind cost on a day, in a currency."""

    use: UsageCharge
    currency: str


@dataclass(frozen=True, slots=True)
class ChangedTerms:
    """When a customer's fees may have changed; `until` None is for good."""

    customer_id: str
    since: datetime
    until: datetime | None


async def list_period_subscriptions(
    connection: Connection, *, entity_id: str, kinds: Sequence[str], batch_seq: int
) -> list[Subscription]:
    """What prices customers' usage by cards with prices of some kinds, as known at a cut-off."""
    rows = await RATING["list_period_subscriptions"].rows(
        connection, entity_id=entity_id, kinds=list(kinds), batch_seq=batch_seq
    )
    return [
        Subscription(
            subscription_id=row["subscription_id"],
            customer_id=row["customer_id"],
            rate_card_id=row["rate_card_id"],
            zone=row["zone"],
            anchor_day=row["anchor_day"],
            valid_from=row["valid_from"],
            valid_to=row["valid_to"],
            payer_id=row["payer_id"],
            agreed=Period(row["agreed_from"], row["agreed_to"] or FAR),
        )
        for row in rows
    ]


async def find_changed_terms(
    connection: Connection, *, entity_id: str, kinds: Sequence[str], since_seq: int, batch_seq: int
) -> list[ChangedTerms]:
    """When prices of some kinds changed after a cut-off, and for whom."""
    return await RATING["find_changed_terms"].values(
        connection,
        ChangedTerms,
        entity_id=entity_id,
        kinds=list(kinds),
        since_seq=since_seq,
        batch_seq=batch_seq,
    )


async def find_pooled_use(
    connection: Connection,
    *,
    periods: Sequence[SubscribedPeriod],
    listed: Iterable[ListedPrice],
    midnights: Mapping[str, Sequence[datetime]],
    batch_seq: int,
) -> list[DayUse]:
    """What customers used in periods by day under those of the listed prices that look at a period
    as a whole, at a cut-off; the others say what is taken out of what it is a part of."""
    rows = await RATING["find_pooled_use"].rows(
        connection,
        **_columns(periods),
        **zone_arrays(midnights),
        listed=[each.as_row() for each in listed],
        batch_seq=batch_seq,
    )
    # The sum is wider than what is stored.
    return [DayUse(**{**row, "quantity": int(row["quantity"])}) for row in rows]


async def sum_usage_charged(
    connection: Connection, *, periods: Sequence[SubscribedPeriod], batch_seq: int
) -> dict[str, list[UsageCharge]]:
    """What usage came to by subscription, with all that is stored up to a number."""
    rows = await RATING["sum_usage_charged"].rows(
        connection, **_columns(periods), batch_seq=batch_seq
    )
    charged: dict[str, list[UsageCharge]] = defaultdict(list)
    for row in rows:
        key = usage_key_of(row)
        use = UsageCharge(row["day_start"], row["meter"], key, row["amount"])
        charged[row["subscription_id"]].append(use)
    return charged


async def sum_usage_costs(
    connection: Connection,
    *,
    entity: LegalEntity,
    periods: Sequence[SubscribedPeriod],
    batch_seq: int,
) -> dict[str, list[UsageCost]]:
    """What usage on days was allocated of its entity's cost at a cut-off, by subscription."""
    rows = await RATING["sum_usage_costs"].rows(
        connection, **_columns(periods), entity_id=entity.entity_id, batch_seq=batch_seq
    )
    costs: dict[str, list[UsageCost]] = defaultdict(list)
    for row in rows:
        use = UsageCharge(row["day_start"], "cost", usage_key_of(row), row["amount"])
        costs[row["subscription_id"]].append(UsageCost(use, row["currency"]))
    return costs


async def list_cost_plus_cards(
    connection: Connection, *, rate_card_ids: Iterable[str], batch_seq: int
) -> set[str]:
    """Which of some cards ask for cost with a mark-up, at a cut-off."""
    rows = await RATING["list_cost_plus_cards"].rows(
        connection, rate_card_ids=sorted(rate_card_ids), batch_seq=batch_seq
    )
    return {row["rate_card_id"] for row in rows}


async def append_period_charges(
    connection: Connection,
    *,
    entity: LegalEntity,
    periods: Sequence[CustomerPeriod],
    timed: Iterable[PeriodAmount],
    cut_off: CutOff,
    stored_seq: int,
) -> int:
    """Append what time adds on days less what is stored of it; returns how many charges."""
    charges = await RATING["append_period_charges"].value(
        connection,
        **arrays_of(periods),
        entity_id=entity.entity_id,
        timed=[each.as_row() for each in timed],
        cut_off_id=cut_off.cut_off_id,
        stored_seq=stored_seq,
    )
    return int(charges)


def _columns(periods: Sequence[SubscribedPeriod]) -> dict[str, list[object]]:
    return {
        "subscriptions": [subscription_id for subscription_id, _, _, _ in periods],
        **arrays_of([(customer_id, since, until) for _, customer_id, since, until in periods]),
    }
