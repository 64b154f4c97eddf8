"""Invoices, their lines and documents, and what they are made of."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from ledger.domain.billing.invoice import Billed, LineKey
from ledger.domain.period import Period
from ledger.domain.pricing.models import PriceModel, load_price
from ledger.store.queries import Connection, load_queries, with_counts

INVOICE = load_queries("billing/invoice")
PDF = "application/pdf"


async def find_subscription(
    connection: Connection, *, subscription_id: str, batch_seq: int, at: datetime
) -> list[asyncpg.Record]:
    """A subscription with its parties as they are at a moment, one row for each validity."""
    return await INVOICE["find_subscription"].rows(
        connection, subscription_id=subscription_id, batch_seq=batch_seq, at=at
    )


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
    return {_line_key(row, period): Billed(int(row["quantity"]), row["amount"]) for row in rows}


async def sum_billed(
    connection: Connection, *, subscription_id: str
) -> dict[Period, dict[LineKey, Billed]]:
    """What invoices have billed, by service period and line key."""
    billed: dict[Period, dict[LineKey, Billed]] = {}
    rows = await INVOICE["sum_billed"].rows(connection, subscription_id=subscription_id)
    for row in rows:
        period = Period(row["service_start"], row["service_end"])
        lines = billed.setdefault(period, {})
        lines[_line_key(row, period)] = Billed(int(row["quantity"]), row["amount"])
    return billed


async def list_billed_periods(
    connection: Connection, *, subscription_id: str
) -> list[asyncpg.Record]:
    """period_start, period_end, run_no and number of the periods that have an invoice."""
    return await INVOICE["list_billed_periods"].rows(connection, subscription_id=subscription_id)


async def find_line_prices(
    connection: Connection, price_ids: Sequence[int]
) -> dict[int, PriceModel]:
    """Price models by id."""
    rows = await INVOICE["find_line_prices"].rows(connection, price_ids=list(price_ids))
    return {row["price_id"]: load_price(row["kind"], row["params"]) for row in rows}


async def take_number(connection: Connection, *, entity_id: str, kind: str, year: int) -> int:
    """The next number of a series, locked until the transaction ends, so that no gap can arise."""
    return int(
        await INVOICE["take_number"].value(connection, entity_id=entity_id, kind=kind, year=year)
    )


async def insert_invoice(connection: Connection, **columns: Any) -> int:
    """Store an issued invoice; returns its id."""
    return int(await INVOICE["insert_invoice"].value(connection, **columns))


async def insert_lines(
    connection: Connection,
    *,
    invoice_id: int,
    customer_id: str,
    lines: Sequence[Mapping[str, Any]],
) -> None:
    """Store the lines of an invoice, numbered from 1 in the order given."""
    columns = {
        "kinds": "kind",
        "service_starts": "service_start",
        "service_ends": "service_end",
        "models": "model",
        "tiers": "tier",
        "adapters": "adapter",
        "regions": "region",
        "bands": "context_band",
        "meters": "meter",
        "price_ids": "price_id",
        "descriptions": "description",
        "quantities": "quantity",
        "unit_amounts": "unit_amount",
        "pers": "per",
        "exact_amounts": "exact_amount",
        "amounts": "amount",
    }
    arrays = {array: [line[name] for line in lines] for array, name in columns.items()}
    await INVOICE["insert_lines"].run(
        connection,
        invoice_id=invoice_id,
        customer_id=customer_id,
        line_nos=list(range(1, len(lines) + 1)),
        **arrays,
    )


async def insert_document(
    connection: Connection, *, invoice_id: int, media_type: str, sha256: bytes, content: bytes
) -> None:
    """Keep a rendered document as it went out."""
    await INVOICE["insert_document"].run(
        connection, invoice_id=invoice_id, media_type=media_type, sha256=sha256, content=content
    )


async def list_invoices(
    connection: Connection,
    *,
    entity_id: str | None = None,
    customer_id: str | None = None,
    invoice_id: int | None = None,
    before: int | None = None,
    limit: int = 1_000,
) -> list[asyncpg.Record]:
    """Invoices, newest first; `before` is the id a page ended with."""
    return await INVOICE["list_invoices"].rows(
        connection,
        entity_id=entity_id,
        customer_id=customer_id,
        invoice_id=invoice_id,
        before=before,
        limit=limit,
    )


async def list_lines(connection: Connection, *, invoice_id: int) -> list[dict[str, Any]]:
    """The lines of an invoice, by number."""
    rows = await INVOICE["list_lines"].rows(connection, invoice_id=invoice_id)
    return with_counts(rows, ["quantity"])


async def find_document(
    connection: Connection, *, invoice_id: int, media_type: str = PDF
) -> bytes | None:
    """The document as it went out, or None."""
    row = await INVOICE["find_document"].row(
        connection, invoice_id=invoice_id, media_type=media_type
    )
    return bytes(row["content"]) if row else None


async def trace_events(
    connection: Connection,
    *,
    line: Mapping[str, Any],
    batch_seq: int,
    after: tuple[int, int] = (0, -1),
    limit: int = 1_000,
) -> list[asyncpg.Record]:
    """Facts behind an invoice line up to a cut-off, in stored order; `after` is where a page ended.

    Of an adjustment: all facts of the windows it is about, of which part was billed before.
    """
    return await INVOICE["trace_events"].rows(
        connection,
        **_line_windows(line),
        batch_seq=batch_seq,
        after_seq=after[0],
        after_ordinal=after[1],
        limit=limit,
    )


async def trace_windows(
    connection: Connection, *, line: Mapping[str, Any], batch_seq: int
) -> list[asyncpg.Record]:
    """The windows and usage keys behind an invoice line."""
    return await INVOICE["trace_windows"].rows(
        connection, **_line_windows(line), batch_seq=batch_seq
    )


def _line_windows(line: Mapping[str, Any]) -> dict[str, Any]:
    names = ("customer_id", "model", "tier", "adapter", "region", "context_band", "kind", "meter")
    named = {name: line[name] for name in (*names, "price_id")}
    return named | {"since": line["service_start"], "until": line["service_end"]}


def _line_key(row: asyncpg.Record, period: Period) -> LineKey:
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
    )
