"""A price per unit: the same for the first token and the last."""

from decimal import Decimal
from typing import ClassVar, Literal

from ledger.domain.money import EXACT
from ledger.domain.pricing.price_model import (
    Basis,
    ExactDecimal,
    PeriodUse,
    PowerOfTen,
    PriceModel,
    PricePart,
    check_per,
)


class PerUnit(PriceModel):
    """`amount` for every `per` units, `per` a power of ten; `sku` is what an invoice calls it.

    >>> from ledger.domain.money import plain
    >>> plain(PerUnit(amount="15", per=1_000_000).price(245_896))
    '3.688440'
    """

    basis: ClassVar[Basis] = Basis.EACH

    kind: Literal["per_unit"] = "per_unit"
    amount: ExactDecimal
    per: PowerOfTen = 1_000_000
    sku: str | None = None

    def model_post_init(self, _context: object) -> None:
        check_per(self.amount, self.per)

    @property
    def label(self) -> str:
        """What a line says beside what was used."""
        return self.sku or ""

    @property
    def each_amount(self) -> Decimal:
        """The exact amount of one unit."""
        return self.amount.scaleb(1 - len(str(self.per)), EXACT)

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """All units at one amount."""
        return (PricePart("", use.quantity, self.amount, self.per),)
