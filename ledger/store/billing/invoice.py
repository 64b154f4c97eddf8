"""Issued invoices, their lines and documents."""

from collections.abc import Mapping, Sequence

import asyncpg

from ledger.domain.billing.agreement import Seller, Terms
from ledger.domain.billing.invoice import InvoiceTotals
from ledger.domain.billing.issued import PDF, Invoice, IssuedLine, StoredInvoice
from ledger.domain.billing.tax import TaxLine
from ledger.domain.period import Period
from ledger.domain.pricing.models import load_price
from ledger.store.billing.draft import INVOICE, buyer_of, line_key
from ledger.store.billing.tax import list_tax_lines
from ledger.store.queries import Connection


async def take_number(connection: Connection, *, entity_id: str, kind: str, year: int) -> int:
    """The next number of a series, locked until the transaction ends, so that no gap can arise."""
    return int(
        await INVOICE["take_number"].value(connection, entity_id=entity_id, kind=kind, year=year)
    )


async def insert_invoice(
    connection: Connection, invoice: Invoice, snapshot: Mapping[str, object], *, batch_seq: int
) -> int:
    """Store an issued invoice with the snapshot of what was true then; returns its id."""
    inserted = await INVOICE["insert_invoice"].value(
        connection,
        entity_id=invoice.entity_id,
        customer_id=invoice.customer_id,
        subscription_id=invoice.subscription_id,
        period_start=invoice.period.start,
        period_end=invoice.period.end,
        run_no=invoice.run_no,
        number=invoice.number,
        currency=invoice.terms.currency,
        exact_total=invoice.totals.exact,
        net_total=invoice.totals.net,
        tax_total=invoice.totals.tax,
        tax_included=invoice.totals.included,
        payable=invoice.totals.payable,
        issued_at=invoice.issued_at,
        due_on=invoice.due_on,
        event_cut_off=invoice.event_cut_off,
        cut_off_id=invoice.cut_off_id,
        batch_seq=batch_seq,
        snapshot=snapshot,
    )
    return int(inserted)


async def insert_lines(
    connection: Connection, *, invoice_id: int, customer_id: str, lines: Sequence[IssuedLine]
) -> None:
    """Store the lines of an invoice."""
    keys = [line.key for line in lines]
    await INVOICE["insert_lines"].run(
        connection,
        invoice_id=invoice_id,
        customer_id=customer_id,
        line_nos=[line.line_no for line in lines],
        kinds=[line.kind for line in lines],
        service_starts=[key.service_start for key in keys],
        service_ends=[key.service_end for key in keys],
        models=[key.model for key in keys],
        tiers=[key.tier for key in keys],
        adapters=[key.adapter for key in keys],
        regions=[key.region for key in keys],
        bands=[key.context_band for key in keys],
        meters=[key.meter for key in keys],
        price_ids=[key.price_id for key in keys],
        parts=[key.part for key in keys],
        descriptions=[line.description for line in lines],
        quantities=[line.quantity for line in lines],
        unit_amounts=[line.unit_amount for line in lines],
        pers=[line.per for line in lines],
        exact_amounts=[line.exact_amount for line in lines],
        amounts=[line.amount for line in lines],
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


async def list_lines(connection: Connection, *, invoice_id: int) -> list[IssuedLine]:
    """The lines of an invoice, by number."""
    rows = await INVOICE["list_lines"].rows(connection, invoice_id=invoice_id)
    return [_line(row) for row in rows]


async def find_document(
    connection: Connection, *, invoice_id: int, media_type: str = PDF
) -> bytes | None:
    """The document as it went out, or None."""
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
        ),
        totals=InvoiceTotals(
            row["exact_total"], row["net_total"], row["tax_total"], row["tax_included"]
        ),
        taxes=taxes,
        prices={int(n): load_price(price["kind"], price) for n, price in said["prices"].items()},
        issued_at=row["issued_at"],
        due_on=row["due_on"],
        event_cut_off=row["event_cut_off"],
        cut_off_id=row["cut_off_id"],
        cut_off_seq=row["cut_off_seq"],
    )


def _line(row: asyncpg.Record) -> IssuedLine:
    return IssuedLine(
        kind=row["kind"],
        key=line_key(row, Period(row["service_start"], row["service_end"])),
        quantity=int(row["quantity"]),
        exact_amount=row["exact_amount"],
        amount=row["amount"],
        line_no=row["line_no"],
        description=row["description"],
        unit_amount=row["unit_amount"],
        per=row["per"],
    )
