"""What invoices are made of: agreements, charges by line, and what was billed before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import asyncpg

from ledger.domain.billing.agreement import Agreement, Buyer, EInvoiceForm, Seller, Terms
from ledger.domain.billing.draft import LinePrice
from ledger.domain.billing.invoice import Billed, LineKey
from ledger.domain.period import Period
from ledger.domain.pricing.models import load_price
from ledger.domain.pricing.subscription import Subscription
from ledger.store.queries import Connection, load_queries

INVOICE = load_queries("billing/invoice")


@dataclass(frozen=True, slots=True)
class BilledPeriod:
    """A period that has an invoice, and the number of its last run; one at least `stands`, or all
    are void."""

    period: Period
    run_no: int
    stands: bool


async def find_agreements(
    connection: Connection, *, subscription_id: str, batch_seq: int, at: datetime
) -> list[Agreement]:
    """A subscription with its parties as they are at a moment, one for each validity."""
    rows = await INVOICE["find_agreements"].rows(
        connection, subscription_id=subscription_id, batch_seq=batch_seq, at=at
    )
    return [_agreement(row) for row in rows]


async def list_subscriptions(connection: Connection, *, entity_id: str) -> list[str]:
    """Ids of an entity's subscriptions."""
    rows = await INVOICE["list_subscriptions"].rows(connection, entity_id=entity_id)
    return [row["subscription_id"] for row in rows]


async def sum_period_charges(
    connection: Connection,
    *,
    subscription_id: str,
    customer_id: str,
    period: Period,
    batch_seq: int,
) -> dict[LineKey, Billed]:
    """Quantity and exact amount by line key of one service period, at a cut-off."""
    rows = await INVOICE["sum_period_charges"].rows(
        connection,
        subscription_id=subscription_id,
        customer_id=customer_id,
        since=period.start,
        until=period.end,
        batch_seq=batch_seq,
    )
    return {line_key(row, period): Billed(int(row["quantity"]), row["amount"]) for row in rows}


async def sum_pending(
    connection: Connection, *, subscription_id: str, customer_id: str, batch_seq: int
) -> dict[LineKey, Billed]:
    """What changed about billed periods at a cut-off and no invoice says yet, by line key."""
    rows = await INVOICE["sum_pending"].rows(
        connection, subscription_id=subscription_id, customer_id=customer_id, batch_seq=batch_seq
    )
    return {
        line_key(row, Period(row["service_start"], row["service_end"])): Billed(
            int(row["quantity"]), row["amount"]
        )
        for row in rows
    }


async def list_billed_periods(
    connection: Connection, *, subscription_id: str
) -> list[BilledPeriod]:
    """The periods that have an invoice, by time."""
    rows = await INVOICE["list_billed_periods"].rows(connection, subscription_id=subscription_id)
    return [
        BilledPeriod(Period(row["period_start"], row["period_end"]), row["run_no"], row["stands"])
        for row in rows
    ]


async def find_line_prices(
    connection: Connection, price_ids: Sequence[int]
) -> dict[int, LinePrice]:
    """Prices, and what they are for, by id."""
    rows = await INVOICE["find_line_prices"].rows(connection, price_ids=list(price_ids))
    return {row["price_id"]: _line_price(row) for row in rows}


def _line_price(row: asyncpg.Record) -> LinePrice:
    match = {name: row[name] for name in ("meter", "model", "tier", "adapter", "region", "name")}
    return LinePrice(load_price(row["kind"], row["params"]), **match)


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
        seller=Seller(**_named(row, "entity", Seller)),
        buyer=buyer_of(_named(row, "customer", Buyer)),
        terms=Terms(
            rate_card_id=row["rate_card_id"],
            rate_card_name=row["card_name"],
            currency=row["currency"],
            language=row["language"],
            payment_days=row["payment_days"],
            rounding=row["rounding"],
            zone=row["zone"],
        ),
        entity_id=row["entity_id"],
        entity_zone=row["entity_zone"],
        invoice_prefix=row["invoice_prefix"],
        is_test=row["is_test"],
    )


def _named(row: asyncpg.Record, role: str, party: type[Seller | Buyer]) -> dict[str, str]:
    return {field.name: row[f"{role}_{field.name}"] for field in fields(party)}


def buyer_of(said: Mapping[str, str]) -> Buyer:
    """A buyer, as it was kept."""
    form = EInvoiceForm(said.get("e_invoice", EInvoiceForm.NONE))
    return Buyer(**{key: text for key, text in said.items() if key != "e_invoice"}, e_invoice=form)
