"""What people enter about tax: rates of countries, our registrations, how customers are taxed."""

import re
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from ledger.wire.errors import FieldError, problem_at
from ledger.wire.fields import Name
from ledger.wire.input_fields import Amount, Identifier, Text
from ledger.wire.inputs import DatedInput

_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)


def _country(text: str) -> str:
    if not _COUNTRY.fullmatch(text):
        raise FieldError("send a country of ISO 3166-1 in two letters, like DK")
    return text


def _percent(value: Decimal) -> Decimal:
    if not 0 < value <= 100:
        raise FieldError("send per cent above 0 and up to 100, like 25")
    return value


Country = Annotated[str, AfterValidator(_country)]
Percent = Annotated[Amount, AfterValidator(_percent)]
TreatmentName = Literal[
    "standard", "reduced", "zero", "exempt", "reverse_charge", "export", "outside"
]


class NewTaxRate(DatedInput):
    """What a country takes of its standard or reduced kind, in per cent."""

    country: Country
    kind: Literal["standard", "reduced"] = "standard"
    percent: Percent


class NewTaxRegistration(DatedInput):
    """Where an entity pays tax, and the number that its invoices there name."""

    entity_id: Identifier
    country: Country
    tax_number: Name


class NewTaxTreatment(DatedInput):
    """How a customer is taxed, and by which country; `included` where prices hold the tax already.

    The ledger applies what is said here and does not decide what is right.
    """

    customer_id: Identifier
    country: Country
    treatment: TreatmentName
    included: bool = False
    reason: Text = ""

    @model_validator(mode="after")
    def _check_reason(self) -> Self:
        if self.treatment == "exempt" and not self.reason:
            raise problem_at("reason", "nothing", "say by which law, as the invoice has to")
        return self
