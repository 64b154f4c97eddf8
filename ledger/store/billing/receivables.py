"""What customers still owe, what they paid, and what was credited."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from ledger.domain.billing.credit_note import Credit
from ledger.domain.billing.receivable import OpenItem, Settlement
from ledger.store.queries import Connection, load_queries

RECEIVABLES = load_queries("billing/receivables")


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came (`received`), went back (`refunded`), or was on account and pays now."""

    entity_id: str
    payment_id: str
    customer_id: str
    kind: str
    paid_on: date
    currency: str
    amount: Decimal
    invoice: str
    reference: str


@dataclass(frozen=True, slots=True)
class CreditHead:
    """What a credit note says beside its lines and taxes; `on_account` is what its invoice owed no
    more."""

    invoice_id: int
    entity_id: str
    customer_id: str
    number: str
    currency: str
    on_account: Decimal
    issued_at: datetime
    reason: str
    voids: bool


async def lock_receivables(connection: Connection, entity_id: str, *, shared: bool = False) -> None:
    """Wait for whoever credits or pays invoices of the entity; held until the transaction ends.

    Who holds it `shared` waits for none who do so too.
    """
    lock = RECEIVABLES["share_receivables" if shared else "lock_receivables"]
    await lock.rows(connection, entity_id=entity_id)


async def list_open_items(
    connection: Connection,
    *,
    entity_id: str | None = None,
    customer_id: str | None = None,
    currency: str | None = None,
) -> list[OpenItem]:
    """Invoices that still ask for something, by day due."""
    return await RECEIVABLES["list_open_items"].values(
        connection, OpenItem, entity_id=entity_id, customer_id=customer_id, currency=currency
    )


async def sum_on_account(
    connection: Connection, *, entity_id: str | None = None, customer_id: str | None = None
) -> Mapping[tuple[str, str], Decimal]:
    """What is on account by (customer, currency); nothing is left out."""
    rows = await RECEIVABLES["sum_on_account"].rows(
        connection, entity_id=entity_id, customer_id=customer_id
    )
    return {(row["customer_id"], row["currency"]): row["amount"] for row in rows}


async def find_payment(
    connection: Connection, *, entity_id: str, payment_id: str
) -> Payment | None:
    """A payment by its id, or None."""
    return await RECEIVABLES["find_payment"].first(
        connection, Payment, entity_id=entity_id, payment_id=payment_id
    )


async def insert_payment(
    connection: Connection,
    payment: Payment,
    settled: Settlement,
    *,
    on_account: Decimal,
    batch_seq: int,
) -> None:
    """Record a payment, and what it pays of which invoice."""
    await RECEIVABLES["insert_payment"].run(
        connection,
        entity_id=payment.entity_id,
        payment_id=payment.payment_id,
        customer_id=payment.customer_id,
        kind=payment.kind,
        paid_on=payment.paid_on,
        currency=payment.currency,
        amount=payment.amount,
        on_account=on_account,
        invoice=payment.invoice,
        reference=payment.reference,
        batch_seq=batch_seq,
        invoice_ids=list(settled.parts),
        amounts=list(settled.parts.values()),
    )


async def list_credited_lines(connection: Connection, *, invoice_id: int) -> dict[int, Decimal]:
    """What was credited of each line of an invoice before."""
    rows = await RECEIVABLES["list_credited_lines"].rows(connection, invoice_id=invoice_id)
    return {row["line_no"]: row["amount"] for row in rows}


async def find_later_run(connection: Connection, *, invoice_id: int) -> str | None:
    """The number of the last invoice of its period that came behind it and stands, or None."""
    row = await RECEIVABLES["find_later_run"].row(connection, invoice_id=invoice_id)
    return str(row["number"]) if row else None


async def insert_credit_note(
    connection: Connection, head: CreditHead, credit: Credit, *, batch_seq: int
) -> int:
    """Store a credit note; returns its id."""
    taxes = credit.taxes
    inserted = await RECEIVABLES["insert_credit_note"].value(
        connection,
        invoice_id=head.invoice_id,
        entity_id=head.entity_id,
        customer_id=head.customer_id,
        number=head.number,
        currency=head.currency,
        net_total=credit.net,
        tax_total=credit.tax,
        payable=credit.payable,
        on_account=head.on_account,
        issued_at=head.issued_at,
        reason=head.reason,
        voids=head.voids,
        batch_seq=batch_seq,
        line_nos=list(credit.lines),
        amounts=list(credit.lines.values()),
        countries=[line.key.country for line in taxes],
        treatments=[str(line.key.treatment) for line in taxes],
        percents=[line.key.percent for line in taxes],
        included=[line.key.included for line in taxes],
        reasons=[line.key.reason for line in taxes],
        bases=[line.base for line in taxes],
        tax_amounts=[line.amount for line in taxes],
    )
    return int(inserted)


async def insert_credit_document(
    connection: Connection, *, credit_note_id: int, media_type: str, sha256: bytes, content: bytes
) -> None:
    """Keep a rendered document as it went out."""
    await RECEIVABLES["insert_credit_document"].run(
        connection,
        credit_note_id=credit_note_id,
        media_type=media_type,
        sha256=sha256,
        content=content,
    )


async def find_credit_document(
    connection: Connection, *, named: str, media_type: str
) -> bytes | None:
    """The document of a credit note, by number or id, or None."""
    row = await RECEIVABLES["find_credit_document"].row(
        connection, named=named, media_type=media_type
    )
    return bytes(row["content"]) if row else None
