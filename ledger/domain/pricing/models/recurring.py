"""A fee for time: an amount a billing period, for the part of it that it was agreed for."""

from typing import ClassVar, Literal

from ledger.domain.pricing.price_model import (
    Basis,
    PeriodUse,
    PriceModel,
    PricePart,
    WholeAmount,
    share_of,
)


class Recurring(PriceModel):
    """`amount` for `every` month, from anchor day to anchor day; a part of one by its length. It is
    earned by the second, whenever it is `billed`: with its period or with the one before."""

    basis: ClassVar[Basis] = Basis.TIME

    kind: Literal["recurring"] = "recurring"
    amount: WholeAmount
    every: Literal["month"]
    billed: Literal["arrears", "advance"] = "arrears"

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """The fee for the time that is gone."""
        fee = share_of(self.amount, use)
        return (PricePart("", 1, fee),) if fee else ()
