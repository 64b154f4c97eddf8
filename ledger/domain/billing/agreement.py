"""Who sells to whom, and on what terms: what an invoice is addressed and reckoned by."""

from dataclasses import dataclass
from enum import StrEnum

from ledger.domain.billing.review import ReviewRule
from ledger.domain.pricing.subscription import Subscription


class EInvoiceForm(StrEnum):
    """As which electronic invoice a buyer gets what it owes: none, inside the PDF, or as UBL."""

    NONE = "none"
    FACTUR_X = "factur_x"
    PEPPOL = "peppol"


@dataclass(frozen=True, slots=True)
class Party:
    """Who sells or buys, as documents name it; what is not known is empty."""

    name: str
    address: str
    tax_number: str
    email: str
    country: str = ""
    electronic_address: str = ""


@dataclass(frozen=True, slots=True)
class Seller(Party):
    """Who sells: where it is paid, as an IBAN or account and as an address to pay at."""

    payment_account: str = ""
    payment_link: str = ""


@dataclass(frozen=True, slots=True)
class Buyer(Party):
    """Who buys: what it wants named on invoices, and as which electronic invoice it gets them."""

    buyer_reference: str = ""
    e_invoice: EInvoiceForm = EInvoiceForm.NONE


@dataclass(frozen=True, slots=True)
class Terms:
    """Card, the currency that is asked for and that of its prices (`priced_in`), language, when it
    is due, how it is rounded, in whose days it is told."""

    rate_card_id: str
    rate_card_name: str
    currency: str
    language: str
    payment_days: int
    rounding: str
    zone: str
    priced_in: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """A subscription with its parties and terms at a moment; `entity_zone` says on which day it is
    invoiced, `is_test` that its documents ask nobody for money, `review` what is unusual, and
    `credits_overcharges` that what was charged too much is a credit note of its own."""

    subscription: Subscription
    seller: Seller
    buyer: Buyer
    terms: Terms
    entity_id: str
    entity_zone: str
    invoice_prefix: str
    is_test: bool
    review: ReviewRule
    credits_overcharges: bool

    @property
    def customer_id(self) -> str:
        """Who buys."""
        return self.subscription.customer_id
