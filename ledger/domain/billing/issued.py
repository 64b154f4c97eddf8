"""An invoice that goes out, and its lines: one value for books, document, API and command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from ledger.domain.billing.agreement import Buyer, Seller, Terms
from ledger.domain.billing.invoice import InvoiceLine, InvoiceTotals
from ledger.domain.billing.tax import TaxLine
from ledger.domain.exchange import Conversion
from ledger.domain.money import EXACT, ZERO
from ledger.domain.period import Period
from ledger.domain.pricing.price_model import PriceModel

# Media types of the documents that go out.
PDF, XML = "application/pdf", "application/xml"
SUFFIXES = MappingProxyType({PDF: ".pdf", XML: ".xml"})


class Series(StrEnum):
    """What is numbered without gaps, by entity and year."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"


def numbered(prefix: str, series: Series, year: int, number: int) -> str:
    """The number that a document of a series bears, as FA-2026-000001 or FA-C-2026-000001."""
    letter = "C-" if series is Series.CREDIT_NOTE else ""
    return f"{prefix}-{letter}{year}-{number:06d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedLine(InvoiceLine):
    """A numbered line with words for its reader; `unit_amount` is the price of `per` units."""

    line_no: int
    description: str
    unit_amount: Decimal
    per: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """A demand for payment, or (payable below zero) what a customer gets back: parties, terms and
    prices as they stood when it was issued.

    It holds what happened before `event_cut_off` and was stored up to `cut_off_seq`. `credit` is
    what grants paid of it as it was issued, `exchange` the rate by which its prices became its
    currency.
    """

    number: str
    entity_id: str
    customer_id: str
    subscription_id: str
    period: Period
    run_no: int
    seller: Seller
    buyer: Buyer
    terms: Terms
    totals: InvoiceTotals
    taxes: tuple[TaxLine, ...]
    prices: Mapping[int, PriceModel]
    issued_at: datetime
    due_on: date
    event_cut_off: datetime
    cut_off_id: int
    cut_off_seq: int
    credit: Decimal = field(default=ZERO, kw_only=True)
    exchange: Conversion | None = field(default=None, kw_only=True)

    @property
    def left_to_pay(self) -> Decimal:
        """Payable less what grants paid."""
        return EXACT.subtract(self.totals.payable, self.credit)


@dataclass(frozen=True, slots=True)
class StoredInvoice(Invoice):
    """An invoice that went out, by the id it has in the books; `voided` says that it is void."""

    invoice_id: int
    voided: bool
