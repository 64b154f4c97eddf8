"""A discount in per cent: so much of what usage came to is taken off again."""

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


class PercentOff(PriceModel):
    """`percent` off the usage that it is for, of every meter or `on` one.

    >>> from decimal import Decimal
    >>> off = PercentOff(percent="12.5")
    >>> f"{off.amount_of(PeriodUse(charged=Decimal(80))).normalize():f}"
    '-10'
    """

    basis: ClassVar[Basis] = Basis.TIME

    kind: Literal["percent_off"] = "percent_off"
    percent: Annotated[ExactDecimal, Field(gt=0, le=100)]
    on: str | None = None

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """What is taken off what usage came to so far, exact to twelve decimals."""
        off = multiply(use.charged, self.percent).scaleb(-2, EXACT).quantize(_LEAST)
        return (PricePart("", 1, -off),) if off > 0 else ()
