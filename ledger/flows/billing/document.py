"""Documents of invoices: rendered when first asked for, and the same bytes ever after."""

import asyncio
from collections.abc import Sequence

from ledger.documents.forms import invoice_forms, media_types
from ledger.domain.billing.invoice import supplied_at
from ledger.domain.billing.issued import PDF, IssuedLine, StoredInvoice
from ledger.domain.billing.tax import TaxKey, find_key
from ledger.domain.errors import NotFoundError
from ledger.domain.period import zone
from ledger.store import parties
from ledger.store.billing import invoice as store
from ledger.store.billing.tax import find_rules
from ledger.store.connect import draw_batch_seq
from ledger.store.queries import Connection


async def find_or_render(
    connection: Connection, invoice: StoredInvoice, media_type: str = PDF
) -> bytes:
    """A document of an invoice, kept from now on where nobody asked for it before.

    NotFoundError where its buyer gets no such file.
    """
    if media_type not in media_types(invoice.buyer.e_invoice):
        raise NotFoundError(
            f"Invoice {invoice.number} went out without a file of {media_type}.",
            "Its customer's e_invoice says in which form it gets invoices.",
        )
    kept = await store.find_document(
        connection, invoice_id=invoice.invoice_id, media_type=media_type
    )
    return kept if kept is not None else await _render(connection, invoice, media_type)


async def tax_keys_of(
    connection: Connection, invoice: StoredInvoice, lines: Sequence[IssuedLine]
) -> list[TaxKey | None]:
    """How each line was taxed: by what was said up to the invoice's cut-off."""
    rules = await find_rules(
        connection,
        entity_id=invoice.entity_id,
        customers=[invoice.customer_id],
        batch_seq=invoice.cut_off_seq,
    )
    said, customer_id = rules[invoice.customer_id], invoice.customer_id
    return [find_key(said, supplied_at(line), customer_id) for line in lines]


async def _render(connection: Connection, invoice: StoredInvoice, media_type: str) -> bytes:
    """All documents of an invoice; of two who ask at once, both get what was kept first."""
    entity = await parties.find_entity(connection, invoice.entity_id)
    customer = await parties.find_customer(connection, invoice.customer_id)
    assert entity is not None, "who issued an invoice is there"
    assert customer is not None, "whom it was issued to as well"
    lines = await store.list_lines(connection, invoice_id=invoice.invoice_id)
    keys = await tax_keys_of(connection, invoice, lines)
    days = await store.sum_days(connection, invoice)
    forms = await asyncio.to_thread(
        invoice_forms,
        invoice,
        lines,
        keys,
        issued_on=invoice.issued_at.astimezone(zone(entity.zone)).date(),
        is_test=entity.is_test or customer.is_test,
        days=days,
        logo=await parties.find_logo(connection, invoice.entity_id, batch_seq=invoice.cut_off_seq),
    )
    async with connection.transaction():
        batch_seq = await draw_batch_seq(connection)
        for each, content in forms.items():
            await store.insert_document(
                connection,
                invoice_id=invoice.invoice_id,
                media_type=each,
                content=content,
                batch_seq=batch_seq,
            )
    kept = await store.find_document(
        connection, invoice_id=invoice.invoice_id, media_type=media_type
    )
    assert kept is not None, "it was kept just now"
    return kept
