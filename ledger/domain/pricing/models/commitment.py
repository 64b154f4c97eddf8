"""A minimum: what usage falls short of it in a billing period is paid as well."""

from typing import ClassVar, Literal

from ledger.domain.money import EXACT
from ledger.domain.pricing.price_model import (
    Basis,
    PeriodUse,
    PriceModel,
    PricePart,
    WholeAmount,
    share_of,
)


class Commitment(PriceModel):
    """At least `amount` of usage `every` month; of a part of one, its share by length."""

    basis: ClassVar[Basis] = Basis.TIME
    title: ClassVar[str] = "true-up"

    kind: Literal["commitment"] = "commitment"
    amount: WholeAmount
    every: Literal["month"]

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """What usage falls short of the minimum for the time that is gone."""
        short = EXACT.subtract(share_of(self.amount, use), use.charged)
        return (PricePart(self.title, 1, short),) if short > 0 else ()
