"""What changes of an entity or a customer from a day on; what is left out stays as it is."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from ledger.wire.errors import problem_at
from ledger.wire.input_fields import (
    Currency,
    Day,
    Identifier,
    Language,
    PaymentDays,
    Price,
    PrintedLines,
    PrintedName,
    PrintedText,
)
from ledger.wire.inputs import InputModel
from ledger.wire.party_inputs import (
    EInvoiceForm,
    ElectronicAddress,
    Overcharges,
    PaymentLink,
    ReviewTimes,
)
from ledger.wire.tax_inputs import Country

_DAYS = frozenset({"valid_from", "valid_to"})


class PartyChange(InputModel):
    """Details that hold from the midnight that begins `valid_from`, in the entity's zone.

    They hold up to the one that begins `valid_to`, or for good.
    """

    key: ClassVar[str]
    may_be_nothing: ClassVar[frozenset[str]] = frozenset()

    valid_from: Day
    valid_to: Day | None = None
    name: PrintedName | None = None
    address: PrintedLines | None = None
    tax_number: PrintedText | None = None
    email: PrintedText | None = None
    country: Country | Literal[""] | None = None
    electronic_address: ElectronicAddress | None = None
    language: Language | None = None
    payment_days: PaymentDays | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise problem_at("valid_to", self.valid_to, f"send a day after {self.valid_from}")
        if not self.changes:
            raise problem_at("name", "no change", "send what changes")
        for field, value in self.changes.items():
            if value is None and field not in self.may_be_nothing:
                raise problem_at(field, "null", "send its new value, or leave it out")
        return self

    @classmethod
    def details(cls) -> tuple[str, ...]:
        """The names of what may change."""
        return tuple(name for name in cls.model_fields if name not in _DAYS and name != cls.key)

    @property
    def changes(self) -> dict[str, object]:
        """The new values of the fields that were sent."""
        named = self.model_fields_set - _DAYS - {self.key}
        return {name: getattr(self, name) for name in sorted(named)}


class EntityChange(PartyChange):
    """What changes of a legal entity from a day on."""

    key = "entity_id"

    entity_id: Identifier
    payment_account: PrintedText | None = None
    payment_link: PaymentLink | None = None
    review_times: ReviewTimes | None = None
    review_above: Price | None = None
    overcharges: Overcharges | None = None


class CustomerChange(PartyChange):
    """What changes of a customer from a day on; no language or payment days are the entity's, no
    `invoiced_in` is the currency of its card."""

    key = "customer_id"
    may_be_nothing = frozenset({"language", "payment_days", "invoiced_in"})

    customer_id: Identifier
    buyer_reference: PrintedText | None = None
    e_invoice: EInvoiceForm | None = None
    invoiced_in: Currency | None = None
