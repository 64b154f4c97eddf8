"""Who pays for attempts that went otherwise than they should: the customer, or the house."""

from typing import ClassVar, Literal

from ledger.domain.money import ZERO
from ledger.domain.pricing.price_model import Basis, PeriodUse, PriceModel, PricePart
from ledger.wire.usage import Outcome


class WhoPays(PriceModel):
    """What an attempt of `outcome` used is billed by its prices, or to nobody where `house` pays:
    then this is its price, and it comes to nothing."""

    basis: ClassVar[Basis] = Basis.EACH

    kind: Literal["who_pays"] = "who_pays"
    outcome: Outcome
    pays: Literal["customer", "house"]

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """All units for nothing."""
        return (PricePart("", use.quantity, ZERO),)
