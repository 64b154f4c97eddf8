"""What every price model is: it takes what was used of a billing period and returns priced parts.

Invariant: the parts of a use sum to its amount exactly, each a quantity at one unit amount; so what
a day adds is the amount up to its end less the amount up to its start, and days telescope.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, LEDGER_SCALE, ZERO, multiply, plain, scale_of, total

AMOUNT_MAX = 10**15


def _exact(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("send a decimal as text or a whole number")
    return value


def _bounded(value: Decimal) -> Decimal:
    if scale_of(value) > LEDGER_SCALE:
        raise ValueError(f"{plain(value)} has over twelve decimals")
    return value


ExactDecimal = Annotated[
    Decimal,
    BeforeValidator(_exact),
    PlainSerializer(plain, return_type=str),
    Field(ge=0, le=AMOUNT_MAX, allow_inf_nan=False),
]
# Of a whole thing: a package, a fee, a flat part of a tier.
WholeAmount = Annotated[ExactDecimal, AfterValidator(_bounded)]
PowerOfTen = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Units = Annotated[int, Field(strict=True, ge=0, le=2**62)]


class Basis(Enum):
    """What an amount follows from: each unit by itself, all units of a period together, or time."""

    EACH = auto()
    POOL = auto()
    TIME = auto()


@dataclass(frozen=True, slots=True)
class PeriodUse:
    """What was used up to a moment of a billing period: units, the time gone of the whole period,
    and what other prices charged meanwhile."""

    quantity: int = 0
    elapsed_us: int = 0
    whole_us: int = 1
    charged: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class PricePart:
    """Part of what a use comes to: `quantity` at `unit_amount` for `per`, a power of ten."""

    name: str
    quantity: int
    unit_amount: Decimal
    per: int = 1

    @property
    def exact(self) -> Decimal:
        """The exact amount."""
        return multiply(self.unit_amount, self.quantity).scaleb(1 - len(str(self.per)), EXACT)


class PriceModel(BaseModel, ABC):
    """Base of the models of prices: strict, unchangeable, read and written as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    basis: ClassVar[Basis]
    # What an invoice calls what time adds.
    title: ClassVar[str] = ""

    kind: str

    @abstractmethod
    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        """What a use comes to, part by part; parts of nothing are left out."""

    def amount_of(self, use: PeriodUse) -> Decimal:
        """The exact, unrounded amount of a use; InvalidInputError below zero units."""
        if use.quantity < 0:
            raise InvalidInputError(f"{use.quantity} units cannot be priced.")
        return total([part.exact for part in self.parts(use)])

    def price(self, quantity: int) -> Decimal:
        """The exact amount for `quantity` units of one period; InvalidInputError below zero."""
        return self.amount_of(PeriodUse(quantity))

    @property
    def params(self) -> dict[str, object]:
        """What is recorded of it beside its kind: without what says nothing."""
        return self.model_dump(mode="json", exclude={"kind"}, exclude_none=True)

    @property
    def label(self) -> str:
        """What a line says beside what was used, empty for nothing."""
        return ""

    @property
    def each_amount(self) -> Decimal:
        """The exact amount of one unit where each is priced by itself, else nothing."""
        return ZERO


def check_per(amount: Decimal, per: int) -> None:
    """ValueError unless `per` is a power of ten and one unit has twelve decimals at most."""
    digits = len(str(per)) - 1
    if per != 10**digits:
        raise ValueError(f"per {per} is not a power of ten")
    if scale_of(amount) + digits > LEDGER_SCALE:
        raise ValueError(f"{plain(amount)} per {per} has over twelve decimals a unit")


def share_of(amount: Decimal, use: PeriodUse) -> Decimal:
    """An amount of a whole period for the time gone of it, rounded down to 1e-12."""
    units = int(amount.scaleb(LEDGER_SCALE, EXACT)) * use.elapsed_us // use.whole_us
    return Decimal(units).scaleb(-LEDGER_SCALE, EXACT)
