"""What people enter of entities and customers: who sells, who buys, how documents reach them."""

import re
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ledger.wire.errors import FieldError, problem_at
from ledger.wire.input_fields import (
    Currency,
    Identifier,
    Label,
    Language,
    PaymentDays,
    Price,
    PrintedLines,
    PrintedName,
    PrintedText,
    Text,
    Zone,
)
from ledger.wire.inputs import DatedInput, InputModel
from ledger.wire.tax_inputs import Country

EInvoiceForm = Literal["none", "factur_x", "peppol"]
# Electronic address schemes (CEF EAS) that EN 16931 knows, version 13.
ADDRESS_SCHEMES = frozenset(
    scheme
    for schemes in (
        "0002 0007 0009 0037 0060 0088 0096 0097 0106 0130 0135 0142 0147 0151 0154 0158",
        "0170 0177 0183 0184 0188 0190 0191 0192 0193 0194 0195 0196 0198 0199 0200 0201",
        "0202 0203 0204 0205 0208 0209 0210 0211 0212 0213 0215 0216 0217 0218 0219 0220",
        "0221 0225 0230 0235 0240 0242 0244 0245 0246 0248 9910 9913 9914 9915 9918 9919",
        "9920 9922 9923 9924 9925 9926 9927 9928 9929 9930 9931 9932 9933 9934 9935 9936",
        "9937 9938 9939 9940 9941 9942 9943 9944 9945 9946 9947 9948 9949 9950 9951 9952",
        "9953 9957 9959 AN AQ AS AU EM",
    )
    for scheme in schemes.split()
)


def _electronic_address(text: str) -> str:
    scheme, colon, value = text.partition(":")
    if text and not (scheme in ADDRESS_SCHEMES and colon and value and value == value.strip()):
        raise FieldError("send scheme and address, like 0088:5790000435968 or EM:bills@example.com")
    return text


def _link(text: str) -> str:
    if text and not _LINK.fullmatch(text):
        raise FieldError("send an address that begins with https://")
    return text


_LINK = re.compile(r"https://[^\s<>\"]+")
ElectronicAddress = Annotated[Text, AfterValidator(_electronic_address)]
PaymentLink = Annotated[Text, AfterValidator(_link)]
ReviewTimes = Annotated[int, Field(ge=0, le=1_000_000)]
Overcharges = Literal["next_invoice", "credit_note"]


class NewEntity(InputModel):
    """A legal entity; invoices are numbered under `invoice_prefix`, by default its id.

    It is paid at an account (an IBAN is checked) and at a link; electronic invoices need its
    country and, for Peppol, its electronic address. A run of invoices holds for a person what asks
    for more than `review_times` the most of its customer's last twelve, and for over
    `review_above`; 0 times: nothing. What invoiced periods turn out to have been charged too much
    (`overcharges`) is a line of the next invoice, or a credit note of its own.
    """

    entity_id: Identifier
    name: PrintedName
    address: PrintedLines = ""
    tax_number: PrintedText = ""
    email: PrintedText = ""
    country: Country | Literal[""] = ""
    electronic_address: ElectronicAddress = ""
    payment_account: PrintedText = ""
    payment_link: PaymentLink = ""
    language: Language = "en"
    currency: Currency
    zone: Zone
    rounding: Literal["half_up", "half_even"] = "half_up"
    invoice_prefix: Identifier | None = None
    default_tier: Label = "standard"
    payment_days: PaymentDays = 30
    review_times: ReviewTimes = 10
    review_above: Price = Decimal(1_000)
    overcharges: Overcharges = "next_invoice"
    is_test: bool = False


class NewCustomer(InputModel):
    """Who is billed by an entity, under an id that never changes.

    Without a language or payment days of its own it has the entity's. As an electronic invoice it
    gets none, one inside the PDF (Factur-X), or UBL as Peppol carries it beside the PDF. Invoices
    ask for the currency of its card, or for `invoiced_in`, by the rate of the day of issue.
    """

    customer_id: Identifier
    entity_id: Identifier
    name: PrintedName
    kind: Literal["organization", "person", "ai_agent"] = "organization"
    address: PrintedLines = ""
    tax_number: PrintedText = ""
    email: PrintedText = ""
    country: Country | Literal[""] = ""
    electronic_address: ElectronicAddress = ""
    buyer_reference: PrintedText = ""
    e_invoice: EInvoiceForm = "none"
    language: Language | None = None
    payment_days: PaymentDays | None = None
    invoiced_in: Currency | None = None
    is_test: bool = False


class NewParent(DatedInput):
    """Whose child a customer is for a time: the topmost parent pays for all below it.

    Without a parent the customer has none in that time.
    """

    customer_id: Identifier
    parent_id: Identifier | None = None

    @model_validator(mode="after")
    def _nobody_is_its_own(self) -> Self:
        if self.parent_id == self.customer_id:
            raise problem_at("parent_id", self.parent_id, "send another customer")
        return self
