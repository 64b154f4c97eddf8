"""What customers dispute of invoices, and how that ended."""

from dataclasses import dataclass
from datetime import datetime

from ledger.domain.billing.issued import StoredInvoice
from ledger.store.queries import Connection, Reader, load_queries

DISPUTES = load_queries("billing/disputes")


@dataclass(frozen=True, slots=True)
class Dispute:
    """Whose dispute it is, and how it ended; `outcome` is None while it is open."""

    dispute_id: int
    entity_id: str
    customer_id: str
    outcome: str | None


async def insert_dispute(
    connection: Connection,
    invoice: StoredInvoice,
    *,
    line_no: int | None,
    reason: str,
    opened_at: datetime,
    batch_seq: int,
) -> int | None:
    """Keep that an invoice or a line of it is disputed; its id, or None where it is already."""
    dispute_id: int | None = await DISPUTES["insert_dispute"].value(
        connection,
        invoice_id=invoice.invoice_id,
        line_no=line_no,
        entity_id=invoice.entity_id,
        customer_id=invoice.customer_id,
        reason=reason,
        opened_at=opened_at,
        batch_seq=batch_seq,
    )
    return dispute_id


async def find_dispute(connection: Reader, dispute_id: int) -> Dispute | None:
    """A dispute by its id, or None."""
    return await DISPUTES["find_dispute"].first(connection, Dispute, dispute_id=dispute_id)


async def insert_resolution(
    connection: Connection,
    dispute: Dispute,
    *,
    outcome: str,
    reason: str,
    resolved_at: datetime,
    batch_seq: int,
) -> None:
    """Keep how a person ended a dispute."""
    await DISPUTES["insert_resolution"].run(
        connection,
        dispute_id=dispute.dispute_id,
        entity_id=dispute.entity_id,
        customer_id=dispute.customer_id,
        outcome=outcome,
        reason=reason,
        resolved_at=resolved_at,
        batch_seq=batch_seq,
    )


async def resolve_credited(connection: Connection, *, credit_note_id: int) -> None:
    """End the disputes of what a credit note takes back."""
    await DISPUTES["resolve_credited"].run(connection, credit_note_id=credit_note_id)
