"""What utilities ask for, as people enter it: by whole days of the site."""

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from ledger.wire.errors import problem_at
from ledger.wire.fields import Names
from ledger.wire.input_fields import Amount, Currency, Day, Identifier, Price, Text
from ledger.wire.inputs import InputModel
from ledger.wire.site_inputs import ENERGY, UTILITY_BILL


class NewUtilityBill(InputModel):
    """What a utility asked for, for some days of a site, the last one included.

    `amount` is without `tax`. It `covers` energy at its price (`electricity`) and costs of the site
    by their names; what they came to is made up to it by day. One that is not `final` makes up
    nothing.
    """

    bill_id: Identifier
    facility_id: Identifier
    first_day: Day
    last_day: Day
    kwh: Price
    amount: Amount
    tax: Amount = Decimal(0)
    currency: Currency
    covers: Annotated[Names, Field(min_length=1, max_length=100)] = (ENERGY,)
    reference: Text = ""
    final: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.last_day < self.first_day:
            raise problem_at("last_day", self.last_day, f"send {self.first_day} or a later day")
        if UTILITY_BILL in self.covers or len({*self.covers}) < len(self.covers):
            raise problem_at("covers", ", ".join(self.covers), "name each cost of the site once")
        if (self.tax < 0) != (self.amount < 0) and self.tax:
            raise problem_at("tax", f"{self.tax:f}", "send it with the sign of the amount")
        return self
