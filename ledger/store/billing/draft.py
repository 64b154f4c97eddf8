"""What invoices are made of: agreements, charges by line, and what was billed before."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

import asyncpg

from ledger.domain.billing.agreement import Agreement, Buyer, EInvoiceForm, Seller, Terms
from ledger.domain.billing.draft import LinePrice
from ledger.domain.billing.invoice import Billed, LineKey
from ledger.domain.billing.review import HISTORY, ReviewRule
from ledger.domain.period import FAR, Period
from ledger.domain.pricing.models import load_price
from ledger.domain.pricing.rate_card import CardPrice
from ledger.domain.pricing.subscription import Subscription
from ledger.store.pricing.rating import UnpricedUsage, card_price
from ledger.store.queries import Connection, load_queries

INVOICE = load_queries("billing/invoice")


@dataclass(frozen=True, slots=True)
class BilledPeriod:
    """A period that has an invoice, and the number of its last run; one at least `stands`, or all
    are void."""

    period: Period
    run_no: int
    stands: bool


@dataclass(frozen=True, slots=True)
class Billable:
    """A period of a subscription to be invoiced."""

    subscription_id: str
    customer_id: str
    period: Period


async def find_agreements(
    connection: Connection, *, subscription_ids: Sequence[str], batch_seq: int, at: datetime
) -> dict[str, list[Agreement]]:
    """Subscriptions by id with their parties as they are at a moment, one for each validity."""
    rows = await INVOICE["find_agreements"].rows(
        connection, subscription_ids=list(subscription_ids), batch_seq=batch_seq, at=at
    )
    agreements: dict[str, list[Agreement]] = defaultdict(list)
    for row in rows:
        agreements[row["subscription_id"]].append(_agreement(row))
    return agreements


async def list_payables(
    connection: Connection, customers: Collection[str]
) -> dict[tuple[str, str], list[Decimal]]:
    """What the last invoices of customers ask for, by customer and currency."""
    payables: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for row in await INVOICE["list_payables"].rows(
        connection, customers=list(customers), history=HISTORY
    ):
        payables[row["customer_id"], row["currency"]].append(row["payable"])
    return payables


async def list_due_subscriptions(
    connection: Connection,
    *,
    entity_id: str,
    days: Mapping[str, tuple[datetime, datetime]],
    since: datetime,
    until: datetime,
    at: datetime,
    parked_as: str,
) -> list[str]:
    """Ids of an entity's subscriptions that are valid at a moment of [since, until), or have an
    invoice and ended before, and may have something to go out `at` a moment.

    `days` are begin and end of the day that is to be billed, by zone, or a moment twice.
    """
    rows = await INVOICE["list_due_subscriptions"].rows(
        connection,
        entity_id=entity_id,
        zones=list(days),
        begins=[begin for begin, _ in days.values()],
        ends=[end for _, end in days.values()],
        since=since,
        until=until,
        at=at,
        parked_as=parked_as,
    )
    return [row["subscription_id"] for row in rows]


async def list_zones(connection: Connection, *, entity_id: str) -> list[str]:
    """The zones of an entity's subscriptions."""
    rows = await INVOICE["list_zones"].rows(connection, entity_id=entity_id)
    return [row["zone"] for row in rows]


async def list_credited_apart(
    connection: Connection, subscription_ids: Sequence[str], *, at: datetime
) -> list[str]:
    """Those whose overcharges are credit notes of their own: by their entity, or as they ended."""
    rows = await INVOICE["list_credited_apart"].rows(
        connection, subscription_ids=list(subscription_ids), at=at
    )
    return [row["subscription_id"] for row in rows]


async def sum_period_charges(
    connection: Connection, asked: Sequence[Billable], *, batch_seq: int
) -> dict[str, dict[LineKey, Billed]]:
    """Quantity and exact amount by subscription and line key of its period, at a cut-off."""
    sums: dict[str, dict[LineKey, Billed]] = {each.subscription_id: {} for each in asked}
    spans = {each.subscription_id: (each.period.start, each.period.end) for each in asked}
    for row in await INVOICE["sum_period_charges"].rows(
        connection, **_spans(asked), batch_seq=batch_seq
    ):
        # There are ten for each invoice: columns are as a key has them, which finds none by name.
        name, *used, quantity, amount = row
        sums[name][LineKey(*spans[name], *used)] = Billed(int(quantity), amount)
    return sums


async def sum_pending(
    connection: Connection, subscriptions: Mapping[str, str], *, batch_seq: int
) -> dict[str, dict[LineKey, Billed]]:
    """What changed about billed periods of subscriptions (of their customers) at a cut-off and no
    invoice says yet, by subscription and line key."""
    sums: dict[str, dict[LineKey, Billed]] = {name: {} for name in subscriptions}
    for row in await INVOICE["sum_pending"].rows(
        connection,
        subscriptions=list(subscriptions),
        customers=list(subscriptions.values()),
        batch_seq=batch_seq,
    ):
        key = line_key(row, Period(row["service_start"], row["service_end"]))
        sums[row["subscription_id"]][key] = Billed(int(row["quantity"]), row["amount"])
    return sums


async def sum_advances(
    connection: Connection, subscription_ids: Sequence[str]
) -> dict[str, dict[LineKey, Decimal]]:
    """What invoices that stand billed in advance and no other took back, by subscription."""
    sums: dict[str, dict[LineKey, Decimal]] = defaultdict(dict)
    for row in await INVOICE["sum_advances"].rows(
        connection, subscription_ids=list(subscription_ids)
    ):
        key = line_key(row, Period(row["service_start"], row["service_end"]))
        sums[row["subscription_id"]][key] = row["amount"]
    return sums


async def list_advance_fees(
    connection: Connection, rate_card_ids: Collection[str], *, batch_seq: int
) -> dict[str, list[CardPrice]]:
    """Fees of cards that are billed in advance, as known at a cut-off, by card."""
    fees: dict[str, list[CardPrice]] = defaultdict(list)
    for row in await INVOICE["list_advance_fees"].rows(
        connection, rate_card_ids=sorted(rate_card_ids), batch_seq=batch_seq
    ):
        fees[row["rate_card_id"]].append(card_price(row))
    return fees


async def list_own_times(
    connection: Connection, customers: Collection[str], *, batch_seq: int
) -> dict[str, list[Period]]:
    """When subscriptions of customers are not set aside for those of whoever pays for them."""
    own: dict[str, list[Period]] = defaultdict(list)
    for row in await INVOICE["list_own_times"].rows(
        connection, customers=sorted(customers), batch_seq=batch_seq
    ):
        own[row["subscription_id"]].append(Period(row["since"], row["until"] or FAR))
    return own


async def list_billed_periods(
    connection: Connection, *, subscription_ids: Sequence[str]
) -> dict[str, list[BilledPeriod]]:
    """The periods of subscriptions that have an invoice, by time."""
    periods: dict[str, list[BilledPeriod]] = defaultdict(list)
    for row in await INVOICE["list_billed_periods"].rows(
        connection, subscription_ids=list(subscription_ids)
    ):
        period = Period(row["period_start"], row["period_end"])
        periods[row["subscription_id"]].append(BilledPeriod(period, row["run_no"], row["stands"]))
    return periods


async def list_unpriced_of(
    connection: Connection, asked: Sequence[Billable], *, entity_id: str, batch_seq: int
) -> dict[str, list[UnpricedUsage]]:
    """Usage in these periods that waits for a price, by subscription."""
    unpriced: dict[str, list[UnpricedUsage]] = defaultdict(list)
    for row in await INVOICE["list_unpriced_of"].rows(
        connection, **_spans(asked), entity_id=entity_id, batch_seq=batch_seq
    ):
        told = {name: row[name] for name in _UNPRICED}
        told["quantity"] = int(row["quantity"])
        unpriced[row["subscription_id"]].append(UnpricedUsage(**told))
    return unpriced


async def find_line_prices(
    connection: Connection, price_ids: Collection[int]
) -> dict[int, LinePrice]:
    """Prices, and what they are for, by id."""
    if not price_ids:
        return {}
    rows = await INVOICE["find_line_prices"].rows(connection, price_ids=sorted(price_ids))
    return {row["price_id"]: _line_price(row) for row in rows}


_UNPRICED = tuple(field.name for field in fields(UnpricedUsage))


def _spans(asked: Sequence[Billable]) -> dict[str, list[object]]:
    return {
        "subscriptions": [each.subscription_id for each in asked],
        "customers": [each.customer_id for each in asked],
        "sinces": [each.period.start for each in asked],
        "untils": [each.period.end for each in asked],
    }


def _line_price(row: asyncpg.Record) -> LinePrice:
    told = {field.name for field in fields(LinePrice)} - {"price"}
    return LinePrice(load_price(row["kind"], row["params"]), **{name: row[name] for name in told})


def line_key(row: asyncpg.Record, period: Period) -> LineKey:
    """What a row of a line or of charges is about."""
    return LineKey(
        service_start=period.start,
        service_end=period.end,
        model=row["model"],
        tier=row["tier"],
        adapter=row["adapter"],
        region=row["region"],
        context_band=row["context_band"],
        meter=row["meter"],
        price_id=row["price_id"],
        part=row["part"],
        used_by=row["used_by"],
    )


def _agreement(row: asyncpg.Record) -> Agreement:
    return Agreement(
        subscription=Subscription(
            subscription_id=row["subscription_id"],
            customer_id=row["customer_id"],
            rate_card_id=row["rate_card_id"],
            zone=row["zone"],
            anchor_day=row["anchor_day"],
            valid_from=row["valid_from"],
            valid_to=row["valid_to"],
        ),
        seller=_seller(*(row[column] for _, column in _SELLER)),
        buyer=buyer_of(_named(row, _BUYER)),
        terms=_terms(*(row[column] for column in _TERMS)),
        entity_id=row["entity_id"],
        entity_zone=row["entity_zone"],
        invoice_prefix=row["invoice_prefix"],
        is_test=row["is_test"],
        review=ReviewRule(row["review_times"], row["review_above"]),
        credits_overcharges=row["overcharges"] == "credit_note",
    )


# Names of fields, and the columns that queries have them in.
_SELLER = tuple((field.name, f"entity_{field.name}") for field in fields(Seller))
_BUYER = tuple((field.name, f"customer_{field.name}") for field in fields(Buyer))


_TERMS = (
    "rate_card_id",
    "card_name",
    "currency",
    "language",
    "payment_days",
    "rounding",
    "zone",
    "priced_in",
)
# Many customers buy of one seller, on the same terms.
_seller, _terms = lru_cache(maxsize=1_024)(Seller), lru_cache(maxsize=1_024)(Terms)


def _named(row: asyncpg.Record, columns: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {name: row[column] for name, column in columns}


def buyer_of(said: Mapping[str, str]) -> Buyer:
    """A buyer, as it was kept."""
    form = EInvoiceForm(said.get("e_invoice", EInvoiceForm.NONE))
    return Buyer(**{key: text for key, text in said.items() if key != "e_invoice"}, e_invoice=form)
