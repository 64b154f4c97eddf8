"""A price of whole packages: a package that was begun is paid."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ledger.domain.pricing.price_model import (
    Basis,
    PeriodUse,
    PriceModel,
    PricePart,
    WholeAmount,
)


class Package(PriceModel):
    """`amount` for each begun `size` units of a billing period.

    >>> from ledger.domain.money import plain
    >>> plain(Package(amount="2", size=1_000).price(1_001))
    '4'
    """

    basis: ClassVar[Basis] = Basis.POOL

    kind: Literal["package"] = "package"
    amount: WholeAmount
    size: Annotated[int, Field(strict=True, ge=1, le=2**62)]

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """The packages begun."""
        begun = -(-use.quantity // self.size)
        name = f"packages of {self.size:,}"
        return (PricePart(name, begun, self.amount),) if begun else ()
