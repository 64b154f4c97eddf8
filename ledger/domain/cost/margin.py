"""Turns revenue and cost into margins, each named as what it is.

Gross margin is (revenue − cost) ÷ revenue; mark-up is revenue ÷ cost − 1. The two are often
confused: a mark-up of 545 % is a gross margin of 84.5 %.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from ledger.domain.money import EXACT, ROUNDING

HUNDREDTH = Decimal("0.01")
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Margin:
    """Revenue and cost of one currency; percentages have two decimals, None where undefined."""

    revenue: Decimal
    cost: Decimal
    currency: str

    @property
    def profit(self) -> Decimal:
        """Revenue minus cost."""
        return EXACT.subtract(self.revenue, self.cost)

    @property
    def gross_margin_pct(self) -> Decimal | None:
        """Profit in percent of revenue; None without revenue."""
        return percent(self.profit, self.revenue)

    @property
    def markup_pct(self) -> Decimal | None:
        """Profit in percent of cost; None without cost."""
        return percent(self.profit, self.cost)


def percent(part: Decimal, whole: Decimal) -> Decimal | None:
    """`part` in percent of `whole`, two decimals, half up; None where the whole is zero.

    >>> str(percent(Decimal(475028), Decimal(562100)))
    '84.51'
    """
    if whole == 0:
        return None
    ratio = ROUNDING.divide(ROUNDING.multiply(part, HUNDRED), whole)
    return ratio.quantize(HUNDREDTH, ROUND_HALF_UP, ROUNDING)
