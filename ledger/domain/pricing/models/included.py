"""An allowance: so many units of a period are included, and the overage is paid per unit."""

from typing import ClassVar, Literal

from ledger.domain.money import ZERO
from ledger.domain.pricing.price_model import (
    Basis,
    ExactDecimal,
    PeriodUse,
    PowerOfTen,
    PriceModel,
    PricePart,
    Units,
    check_per,
)


class Included(PriceModel):
    """The first `included` units of a period for nothing, `amount` for every `per` behind them.

    >>> from ledger.domain.money import plain
    >>> plain(Included(included=1_000, amount="2", per=1).price(1_003))
    '6'
    """

    basis: ClassVar[Basis] = Basis.POOL

    kind: Literal["included"] = "included"
    included: Units
    amount: ExactDecimal
    per: PowerOfTen = 1_000_000

    def model_post_init(self, _context: object) -> None:
        check_per(self.amount, self.per)

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """What was included, and what went beyond."""
        free = min(use.quantity, self.included)
        parts = (
            PricePart(f"included {self.included:,}", free, ZERO, self.per),
            PricePart("overage", use.quantity - free, self.amount, self.per),
        )
        return tuple(part for part in parts if part.quantity)
