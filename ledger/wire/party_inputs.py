"""What people enter of entities and customers: who sells, who buys, how documents reach them."""

from typing import Literal

from ledger.wire.fields import Name
from ledger.wire.input_fields import Currency, Identifier, Label, Language, PaymentDays, Text, Zone
from ledger.wire.inputs import InputModel


class NewEntity(InputModel):
    """A legal entity; invoices are numbered under `invoice_prefix`, by default its id."""

    entity_id: Identifier
    name: Name
    address: Text = ""
    tax_number: Text = ""
    email: Text = ""
    language: Language = "en"
    currency: Currency
    zone: Zone
    rounding: Literal["half_up", "half_even"] = "half_up"
    invoice_prefix: Identifier | None = None
    default_tier: Label = "standard"
    payment_days: PaymentDays = 30
    is_test: bool = False


class NewCustomer(InputModel):
    """Who is billed by an entity, under an id that never changes.

    Without a language or payment days of its own it has the entity's.
    """

    customer_id: Identifier
    entity_id: Identifier
    name: Name
    kind: Literal["organization", "person", "ai_agent"] = "organization"
    address: Text = ""
    tax_number: Text = ""
    email: Text = ""
    language: Language | None = None
    payment_days: PaymentDays | None = None
    is_test: bool = False
