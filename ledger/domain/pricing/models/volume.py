"""Volume prices: all units of a period at the price of the tier that their number reaches."""

from typing import ClassVar, Literal

from ledger.domain.pricing.price_model import Basis, PeriodUse, PricePart
from ledger.domain.pricing.tiers import Tiered


class Volume(Tiered):
    """Every unit at the amount of the last tier reached: the next one re-prices those before.

    >>> from ledger.domain.money import plain
    >>> tiers = [{"start": 0, "end": 10, "amount": "5"}, {"start": 10, "amount": "4"}]
    >>> [plain(Volume(tiers=tiers, per=1).price(used)) for used in (10, 11)]
    ['50', '44']
    """

    basis: ClassVar[Basis] = Basis.POOL

    kind: Literal["volume"] = "volume"

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """All units at one tier's amount."""
        reached = [tier for tier in self.tiers if tier.start < use.quantity]
        return tuple(self.in_tier(reached[-1], use.quantity)) if reached else ()
