"""A discount in money: so much of a billing period's usage is taken off again, never more."""

from typing import ClassVar, Literal

from ledger.domain.pricing.price_model import (
    Basis,
    PeriodUse,
    PriceModel,
    PricePart,
    WholeAmount,
)


class AmountOff(PriceModel):
    """`amount` off the usage of `every` month, or all of it where it came to less."""

    basis: ClassVar[Basis] = Basis.TIME

    kind: Literal["amount_off"] = "amount_off"
    amount: WholeAmount
    every: Literal["month"]

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """What is taken off what usage came to so far."""
        off = min(self.amount, use.charged)
        return (PricePart("", 1, -off),) if off > 0 else ()
