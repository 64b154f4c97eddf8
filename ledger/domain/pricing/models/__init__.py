"""Price models: one file each. Parameters are stored as JSON with the kind, amounts as text."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from types import MappingProxyType
from typing import Any, TypeAlias

from pydantic import ValidationError

from ledger.domain.errors import InvalidInputError
from ledger.domain.pricing.models.amount_off import AmountOff
from ledger.domain.pricing.models.commitment import Commitment
from ledger.domain.pricing.models.cost_plus import CostPlus
from ledger.domain.pricing.models.graduated import Graduated
from ledger.domain.pricing.models.included import Included
from ledger.domain.pricing.models.package import Package
from ledger.domain.pricing.models.per_unit import PerUnit
from ledger.domain.pricing.models.percent_off import PercentOff
from ledger.domain.pricing.models.recurring import Recurring
from ledger.domain.pricing.models.volume import Volume
from ledger.domain.pricing.models.who_pays import WhoPays
from ledger.domain.pricing.price_model import Basis, PeriodUse, PriceModel


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored price that no model can read: whoever needs it fails, and nobody else."""

    reason: str
    basis: Basis = Basis.EACH

    def amount_of(self, _use: PeriodUse) -> Decimal:
        """InvalidInputError, always: usage under it is neither free nor without a price."""
        return self.price(1)

    @property
    def each_amount(self) -> Decimal:
        """InvalidInputError, always: usage under it is neither free nor without a price."""
        return self.price(1)

    def price(self, _quantity: int) -> Decimal:
        """InvalidInputError, always: usage under it is neither free nor without a price."""
        raise InvalidInputError(f"A price of the card cannot be read: {self.reason}.")


StoredPrice: TypeAlias = PriceModel | Unreadable
PRICE_MODELS: Mapping[str, type[PriceModel]] = MappingProxyType(
    {
        "per_unit": PerUnit,
        "package": Package,
        "graduated": Graduated,
        "volume": Volume,
        "included": Included,
        "recurring": Recurring,
        "commitment": Commitment,
        "percent_off": PercentOff,
        "amount_off": AmountOff,
        "who_pays": WhoPays,
        "cost_plus": CostPlus,
    }
)

# Kinds whose amounts follow from a period as a whole, and those of them that follow from time.
PERIOD_KINDS = tuple(kind for kind, model in PRICE_MODELS.items() if model.basis is not Basis.EACH)
TIMED_KINDS = tuple(kind for kind, model in PRICE_MODELS.items() if model.basis is Basis.TIME)


def load_price(kind: str, params: Mapping[str, Any]) -> PriceModel:
    """The price model of `kind`; InvalidInputError names an unknown kind or a wrong parameter."""
    model = PRICE_MODELS.get(kind)
    if model is None:
        raise InvalidInputError(
            f"There is no price model {kind!r}.", f"Use one of {', '.join(PRICE_MODELS)}.", "kind"
        )
    try:
        return model.model_validate({"kind": kind, **params})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"{where}: {said}" if where else said, where=where) from error


def load_stored_price(kind: str, params: Mapping[str, Any]) -> StoredPrice:
    """`load_price` of what is recorded already, which must not hide the prices beside it."""
    try:
        return load_price(kind, params)
    except (InvalidInputError, DecimalException) as error:
        return Unreadable(f"{error}" or type(error).__name__)
