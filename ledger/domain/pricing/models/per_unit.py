"""A price per unit: the same for the first token and the last."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, LEDGER_SCALE, multiply, plain, scale_of


def _exact(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("send a decimal as text or a whole number")
    return value


ExactDecimal = Annotated[
    Decimal, BeforeValidator(_exact), PlainSerializer(plain, return_type=str), Field(ge=0)
]


class PerUnit(BaseModel):
    """`amount` for every `per` units, `per` a power of ten.

    >>> from ledger.domain.money import plain
    >>> plain(PerUnit(amount="15", per=1_000_000).price(245_896))
    '3.688440'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["per_unit"] = "per_unit"
    amount: ExactDecimal
    per: Annotated[int, Field(strict=True, ge=1)] = 1_000_000

    def model_post_init(self, _context: object) -> None:
        digits = len(str(self.per)) - 1
        if self.per != 10**digits:
            raise ValueError(f"per {self.per} is not a power of ten")
        if scale_of(self.amount) + digits > LEDGER_SCALE:
            raise ValueError(f"{plain(self.amount)} per {self.per} has over twelve decimals a unit")

    @property
    def each_amount(self) -> Decimal:
        """The exact amount of one unit."""
        return self.amount.scaleb(1 - len(str(self.per)), EXACT)

    def price(self, quantity: int) -> Decimal:
        """The exact, unrounded amount for `quantity` units; InvalidInputError below zero."""
        if quantity < 0:
            raise InvalidInputError(f"{quantity} units cannot be priced.")
        return multiply(self.each_amount, quantity)
