"""Keeps what customers dispute of invoices: until it is resolved, nobody reminds them of it.

A credit note resolves what it takes back; everything else a person does, with a reason.
"""

from dataclasses import dataclass
from datetime import datetime

from ledger.domain.author import Author, check_reason
from ledger.domain.errors import ConflictError, NotFoundError
from ledger.flows.billing.trace import find_invoice, find_line
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store.billing import disputes as store
from ledger.store.billing.disputes import Dispute
from ledger.store.billing.receivables import lock_receivables
from ledger.store.connect import draw_batch_seq
from ledger.store.queries import Connection, Reader


@dataclass(frozen=True, slots=True)
class OpenedDispute:
    """What was opened, of which invoice; `line_no` is None for all of it."""

    dispute_id: int
    invoice: str
    line_no: int | None


@dataclass(frozen=True, slots=True)
class ResolvedDispute:
    """What was resolved, and how."""

    dispute_id: int
    outcome: str


async def open_dispute(
    connection: Connection, *, named: str, line_no: int | None, now: datetime, author: Author
) -> OpenedDispute:
    """Keep that an invoice (by number or id), or a line of it, is disputed, for the author's
    reason.

    NotFoundError where there is no such invoice or line; ConflictError where it is void, or that is
    disputed already.
    """
    check_reason(author)
    async with writing(connection):
        invoice = await find_invoice(connection, named)
        await lock_receivables(connection, invoice.entity_id)
        invoice = await find_invoice(connection, named)
        if line_no is not None:
            await find_line(connection, invoice, line_no)
        if invoice.voided:
            raise ConflictError(
                f"Invoice {invoice.number} is void: nobody asks for it any more.",
                "Name the one that came in its place.",
            )
        batch_seq = await draw_batch_seq(connection)
        dispute_id = await store.insert_dispute(
            connection,
            invoice,
            line_no=line_no,
            reason=author.reason,
            opened_at=now,
            batch_seq=batch_seq,
        )
        if dispute_id is None:
            what = "The invoice" if line_no is None else f"Line {line_no}"
            raise ConflictError(
                f"{what} is disputed already.", "See it: tokenledger list disputes.", "line_no"
            )
        await keep_write(
            connection,
            author,
            batch_seq=batch_seq,
            action="open dispute",
            subject=str(dispute_id),
            detail={"invoice": invoice.number, "line_no": line_no},
        )
        return OpenedDispute(dispute_id, invoice.number, line_no)


async def find_dispute(connection: Reader, dispute_id: int) -> Dispute:
    """A dispute by its id; NotFoundError where there is none."""
    dispute = await store.find_dispute(connection, dispute_id)
    if dispute is None:
        raise NotFoundError(f"There is no dispute {dispute_id}.", "List them to see their ids.")
    return dispute


async def resolve_dispute(
    connection: Connection, *, dispute_id: int, outcome: str, now: datetime, author: Author
) -> ResolvedDispute:
    """Keep that a dispute was rejected or withdrawn, and why; ConflictError where it has ended."""
    check_reason(author)
    async with writing(connection):
        dispute = await find_dispute(connection, dispute_id)
        await lock_receivables(connection, dispute.entity_id)
        dispute = await find_dispute(connection, dispute_id)
        if dispute.outcome is not None:
            raise ConflictError(
                f"Dispute {dispute_id} was {dispute.outcome} before.", "What has ended stays so."
            )
        batch_seq = await draw_batch_seq(connection)
        await store.insert_resolution(
            connection,
            dispute,
            outcome=outcome,
            reason=author.reason,
            resolved_at=now,
            batch_seq=batch_seq,
        )
        await keep_write(
            connection,
            author,
            batch_seq=batch_seq,
            action="resolve dispute",
            subject=str(dispute_id),
            detail={"outcome": outcome},
        )
        return ResolvedDispute(dispute_id, outcome)
