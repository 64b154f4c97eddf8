"""Cost plus: what usage was allocated of the factory's cost, and a mark-up on it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ledger.domain.money import EXACT, LEDGER_SCALE, ZERO, multiply
from ledger.domain.pricing.price_model import (
    Basis,
    ExactDecimal,
    PeriodUse,
    PriceModel,
    PricePart,
)

_LEAST = ZERO.scaleb(-LEDGER_SCALE)


class CostPlus(PriceModel):
    """The cost that is allocated to the usage it is for, and `markup` per cent of it; `charged` of
    a use is cost here.

    >>> from decimal import Decimal
    >>> plus = CostPlus(markup="12.5")
    >>> f"{plus.amount_of(PeriodUse(charged=Decimal(80))).normalize():f}"
    '90'
    """

    basis: ClassVar[Basis] = Basis.TIME

    kind: Literal["cost_plus"] = "cost_plus"
    markup: Annotated[ExactDecimal, Field(le=10_000)]

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """What the cost so far comes to, exact to twelve decimals."""
        percent = EXACT.add(100, self.markup)
        asked = multiply(use.charged, percent).scaleb(-2, EXACT).quantize(_LEAST)
        return (PricePart("", 1, asked),) if asked > 0 else ()
