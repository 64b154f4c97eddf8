"""Cost plus: what usage was allocated of the factory's cost, and a mark-up on it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ledger.domain.money import EXACT, percent_of
from ledger.domain.pricing.price_model import (
    Basis,
    ExactDecimal,
    PeriodUse,
    PriceModel,
    PricePart,
)


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
        asked = percent_of(use.charged, EXACT.add(100, self.markup))
        return (PricePart("", 1, asked),) if asked > 0 else ()
