"""A discount in per cent: so much of what usage came to is taken off again."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ledger.domain.money import percent_of
from ledger.domain.pricing.price_model import (
    Basis,
    ExactDecimal,
    PeriodUse,
    PriceModel,
    PricePart,
)


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
        off = percent_of(use.charged, self.percent)
        return (PricePart("", 1, -off),) if off > 0 else ()
