"""Graduated prices: each unit of a period at the price of the tier that it falls into."""

from typing import ClassVar, Literal

from ledger.domain.pricing.price_model import Basis, PeriodUse, PricePart
from ledger.domain.pricing.tiers import Tiered


class Graduated(Tiered):
    """The first units at the first tier's amount, those behind at the next.

    >>> from ledger.domain.money import plain
    >>> tiers = [{"start": 0, "end": 10, "amount": "5"}, {"start": 10, "amount": "4"}]
    >>> plain(Graduated(tiers=tiers, per=1).price(12))
    '58'
    """

    basis: ClassVar[Basis] = Basis.POOL

    kind: Literal["graduated"] = "graduated"

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """The units of each tier that was reached."""
        return tuple(
            part
            for tier in self.tiers
            for part in self.in_tier(
                tier,
                max(min(use.quantity, use.quantity if tier.end is None else tier.end), tier.start)
                - tier.start,
            )
        )
