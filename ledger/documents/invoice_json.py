"""The one JSON of invoices: what is kept of them, what the API answers, what `--json` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from ledger.domain.billing.agreement import Buyer, Party, Seller
from ledger.domain.billing.invoice import InvoiceLine, InvoiceTotals
from ledger.domain.billing.issued import Invoice, IssuedLine, StoredInvoice
from ledger.domain.billing.tax import TaxLine
from ledger.domain.exchange import Conversion
from ledger.domain.money import plain
from ledger.wire.rfc3339 import format_rfc3339


def invoice_json(
    invoice: StoredInvoice, lines: Sequence[IssuedLine] | None = None
) -> dict[str, object]:
    """An invoice that went out; whole, with what was true then, where its lines are given."""
    lead = {
        "invoice_id": invoice.invoice_id,
        "entity_id": invoice.entity_id,
        "customer_id": invoice.customer_id,
        "subscription_id": invoice.subscription_id,
        "period_start": invoice.period.start,
        "period_end": invoice.period.end,
        "run_no": invoice.run_no,
        "number": invoice.number,
        "currency": invoice.terms.currency,
        "priced_in": invoice.terms.priced_in,
        **totals_json(invoice.totals),
        "credit": invoice.credit,
        "left_to_pay": invoice.left_to_pay,
        "taxes": [tax_json(line) for line in invoice.taxes],
        "issued_at": invoice.issued_at,
        "due_on": invoice.due_on,
        "event_cut_off": invoice.event_cut_off,
        "cut_off_id": invoice.cut_off_id,
        "voided": invoice.voided,
    }
    if lines is None:
        return lead
    listed = [issued_line_json(invoice, line) for line in lines]
    return {**lead, "snapshot": snapshot_json(invoice), "lines": listed}


def snapshot_json(invoice: Invoice) -> dict[str, object]:
    """What was true when it went out, in plain values, as it is kept for good."""
    terms = invoice.terms
    return {
        "seller": _said(invoice.seller),
        "buyer": _said(invoice.buyer),
        "rate_card": {"id": terms.rate_card_id, "name": terms.rate_card_name},
        "language": terms.language,
        "payment_days": terms.payment_days,
        "rounding": terms.rounding,
        "zone": terms.zone,
        "exchange": exchange_json(invoice.exchange),
        "prices": {
            str(price_id): {"kind": price.kind, **price.params}
            for price_id, price in sorted(invoice.prices.items())
        },
        "cut_off": {
            "events_until": format_rfc3339(invoice.period.end),
            "batch_seq": invoice.cut_off_seq,
        },
    }


def _said(party: Party) -> dict[str, str]:
    # asdict would copy each text by itself.
    return {name: getattr(party, name) for name in _NAMES[type(party)]}


_NAMES: Mapping[type[Party], tuple[str, ...]] = {
    party: tuple(field.name for field in fields(party)) for party in (Seller, Buyer)
}


def issued_line_json(invoice: StoredInvoice, line: IssuedLine) -> dict[str, object]:
    """A line of an invoice that went out."""
    return {
        "invoice_id": invoice.invoice_id,
        "line_no": line.line_no,
        "customer_id": invoice.customer_id,
        **_what_json(line),
        "description": line.description,
        "quantity": line.quantity,
        "unit_amount": line.unit_amount,
        "per": line.per,
        "charged_amount": line.charged,
        "exact_amount": line.exact_amount,
        "amount": line.amount,
    }


def line_json(line: IssuedLine) -> dict[str, object]:
    """A line to come, in the words in which it is to go out."""
    return {
        **_what_json(line),
        "description": line.description,
        "quantity": line.quantity,
        "unit_amount": line.unit_amount,
        "per": line.per,
        "charged_amount": line.charged,
        "exact_amount": line.exact_amount,
        "amount": line.amount,
    }


def adjustment_json(line: IssuedLine, currency: str) -> dict[str, object]:
    """What changed about an invoiced period since."""
    return {**line_json(line), "currency": currency}


def totals_json(totals: InvoiceTotals) -> dict[str, object]:
    """What it comes to, before and after rounding."""
    return {
        "charged_total": totals.charged,
        "exact_total": totals.exact,
        "net_total": totals.net,
        "tax_total": totals.tax,
        "tax_included": totals.included,
        "payable": totals.payable,
    }


def exchange_json(conversion: Conversion | None) -> dict[str, str] | None:
    """The rate by which prices became the currency of an invoice, in plain values."""
    if conversion is None:
        return None
    said = {field.name: str(getattr(conversion, field.name)) for field in fields(conversion)}
    return said | {name: plain(getattr(conversion, name)) for name in ("multiplier", "divisor")}


def tax_json(line: TaxLine) -> dict[str, object]:
    """A line of tax."""
    return {**asdict(line.key), "category": line.category, "base": line.base, "amount": line.amount}


def _what_json(line: InvoiceLine) -> dict[str, object]:
    return {"kind": line.kind, **line.key._asdict()}
