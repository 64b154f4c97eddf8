"""Issued invoices, their lines and documents."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256

import asyncpg

from ledger.domain.billing.agreement import Seller, Terms
from ledger.domain.billing.invoice import InvoiceTotals
from ledger.domain.billing.issued import PDF, Invoice, IssuedLine, StoredInvoice
from ledger.domain.billing.tax import TaxLine
from ledger.domain.exchange import Conversion
from ledger.domain.money import round_minor
from ledger.domain.period import Period
from ledger.domain.pricing.models import load_price
from ledger.store.billing.draft import INVOICE, buyer_of, line_key
from ledger.store.billing.tax import list_tax_lines
from ledger.store.copying import copy_text
from ledger.store.queries import Connection

LINE_COLUMNS = (
    *("invoice_id", "line_no", "customer_id", "kind", "service_period", "model", "tier", "adapter"),
    *("region", "context_band", "meter", "price_id", "part", "used_by", "description"),
    *("quantity", "unit_amount", "per", "charged_amount", "exact_amount", "amount"),
)


async def take_numbers(
    connection: Connection, *, entity_id: str, kind: str, year: int, numbers: int = 1
) -> int:
    """The first of the next so many numbers of a series, locked until the transaction ends, so
    that no gap can arise."""
    return int(
        await INVOICE["take_numbers"].value(
            connection, entity_id=entity_id, kind=kind, year=year, numbers=numbers
        )
    )


async def insert_invoices(
    connection: Connection,
    invoices: Sequence[Invoice],
    snapshots: Sequence[Mapping[str, object]],
    *,
    batch_seq: int,
) -> list[int]:
    """Store invoices of one entity, issued at one moment and cut-off, each with the snapshot of
    what was true then; returns their ids."""
    first = invoices[0]
    rows = await INVOICE["insert_invoices"].rows(
        connection,
        entity_id=first.entity_id,
        issued_at=first.issued_at,
        cut_off_id=first.cut_off_id,
        batch_seq=batch_seq,
        **_columns(invoices),
        snapshots=list(snapshots),
    )
    ids = {row["number"]: row["invoice_id"] for row in rows}
    return [ids[invoice.number] for invoice in invoices]


def _columns(invoices: Sequence[Invoice]) -> dict[str, list[object]]:
    return {
        "customers": [each.customer_id for each in invoices],
        "subscriptions": [each.subscription_id for each in invoices],
        "period_starts": [each.period.start for each in invoices],
        "period_ends": [each.period.end for each in invoices],
        "run_nos": [each.run_no for each in invoices],
        "numbers": [each.number for each in invoices],
        "currencies": [each.terms.currency for each in invoices],
        "priced_in": [each.terms.priced_in for each in invoices],
        "charged_totals": [each.totals.charged for each in invoices],
        "exact_totals": [each.totals.exact for each in invoices],
        "net_totals": [each.totals.net for each in invoices],
        "tax_totals": [each.totals.tax for each in invoices],
        "taxes_included": [each.totals.included for each in invoices],
        "payables": [each.totals.payable for each in invoices],
        "due_on": [each.due_on for each in invoices],
        "event_cut_offs": [each.event_cut_off for each in invoices],
    }


async def insert_lines(
    connection: Connection, issued: Iterable[tuple[int, str, Sequence[IssuedLine]]]
) -> None:
    """Store the lines of invoices (id, customer, lines)."""
    rows = [
        (
            *(invoice_id, line.line_no, customer_id, line.kind),
            _period_text(line.key.service_start, line.key.service_end),
            # The key goes on as the columns do.
            *line.key[2:],
            *(line.description, line.quantity, line.unit_amount, line.per),
            *(line.charged, line.exact_amount, line.amount),
        )
        for invoice_id, customer_id, lines in issued
        for line in lines
    ]
    await copy_text(connection, "invoice_line", LINE_COLUMNS, rows)


@lru_cache(maxsize=1_024)
def _period_text(start: datetime, end: datetime) -> str:
    return f"[{start.isoformat()},{end.isoformat()})"


async def insert_document(
    connection: Connection, *, invoice_id: int, media_type: str, content: bytes, batch_seq: int
) -> None:
    """Keep a document as it was rendered first, with its SHA-256; one that is kept stays."""
    await INVOICE["insert_document"].run(
        connection,
        invoice_id=invoice_id,
        media_type=media_type,
        sha256=sha256(content).digest(),
        content=content,
        batch_seq=batch_seq,
    )


async def list_invoices(
    connection: Connection,
    *,
    entity_id: str | None = None,
    customer_id: str | None = None,
    invoice_id: int | None = None,
    named: str | None = None,
    before: int | None = None,
    limit: int = 1_000,
) -> list[StoredInvoice]:
    """Invoices, newest first; `named` is a number or an id, `before` the id a page ended with."""
    rows = await INVOICE["list_invoices"].rows(
        connection,
        entity_id=entity_id,
        customer_id=customer_id,
        invoice_id=invoice_id,
        named=named,
        before=before,
        limit=limit,
    )
    taxes = await list_tax_lines(connection, [row["invoice_id"] for row in rows])
    return [_invoice(row, taxes[row["invoice_id"]]) for row in rows]


async def sum_days(connection: Connection, invoice: StoredInvoice) -> dict[date, Decimal]:
    """What an invoice's period was charged by day of its zone, as known at its cut-off."""
    rows = await INVOICE["sum_days"].rows(
        connection,
        subscription_id=invoice.subscription_id,
        customer_id=invoice.customer_id,
        since=invoice.period.start,
        until=invoice.period.end,
        zone=invoice.terms.zone,
        batch_seq=invoice.cut_off_seq,
    )
    return {row["day"]: row["amount"] for row in rows}


async def list_lines(connection: Connection, *, invoice_id: int) -> list[IssuedLine]:
    """The lines of an invoice, by number."""
    rows = await INVOICE["list_lines"].rows(connection, invoice_id=invoice_id)
    return [_line(row) for row in rows]


async def find_document(
    connection: Connection, *, invoice_id: int, media_type: str = PDF
) -> bytes | None:
    """The document as it was rendered first, or None where nobody asked for it."""
    row = await INVOICE["find_document"].row(
        connection, invoice_id=invoice_id, media_type=media_type
    )
    return bytes(row["content"]) if row else None


def _invoice(row: asyncpg.Record, taxes: tuple[TaxLine, ...]) -> StoredInvoice:
    said = row["snapshot"]
    return StoredInvoice(
        invoice_id=row["invoice_id"],
        voided=row["voided"],
        number=row["number"],
        entity_id=row["entity_id"],
        customer_id=row["customer_id"],
        subscription_id=row["subscription_id"],
        period=Period(row["period_start"], row["period_end"]),
        run_no=row["run_no"],
        seller=Seller(**said["seller"]),
        buyer=buyer_of(said["buyer"]),
        terms=Terms(
            rate_card_id=said["rate_card"]["id"],
            rate_card_name=said["rate_card"]["name"],
            currency=row["currency"],
            language=said["language"],
            payment_days=said["payment_days"],
            rounding=said["rounding"],
            zone=said["zone"],
            priced_in=row["priced_in"],
        ),
        totals=InvoiceTotals(
            *(row["exact_total"], row["net_total"], row["tax_total"], row["tax_included"]),
            charged_total=row["charged_total"],
        ),
        taxes=taxes,
        prices={int(n): load_price(price["kind"], price) for n, price in said["prices"].items()},
        issued_at=row["issued_at"],
        due_on=row["due_on"],
        event_cut_off=row["event_cut_off"],
        cut_off_id=row["cut_off_id"],
        cut_off_seq=row["cut_off_seq"],
        credit=round_minor(row["credit"], row["currency"]),
        exchange=_exchange(said["exchange"]),
    )


def _exchange(said: Mapping[str, str] | None) -> Conversion | None:
    if said is None:
        return None
    return Conversion(
        base=said["base"],
        quote=said["quote"],
        published=date.fromisoformat(said["published"]),
        multiplier=Decimal(said["multiplier"]),
        divisor=Decimal(said["divisor"]),
        source=said["source"],
    )


def _line(row: asyncpg.Record) -> IssuedLine:
    return IssuedLine(
        kind=row["kind"],
        key=line_key(row, Period(row["service_start"], row["service_end"])),
        quantity=int(row["quantity"]),
        exact_amount=row["exact_amount"],
        charged_amount=row["charged_amount"],
        amount=row["amount"],
        line_no=row["line_no"],
        description=row["description"],
        unit_amount=row["unit_amount"],
        per=row["per"],
    )
