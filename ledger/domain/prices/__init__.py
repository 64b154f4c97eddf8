"""Price models: one file each. Parameters are stored as JSON with the kind, amounts as text."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from ledger.domain.errors import InvalidInputError
from ledger.domain.prices.per_unit import PerUnit

PriceModel = PerUnit
PRICE_MODELS: Mapping[str, type[PriceModel]] = MappingProxyType({"per_unit": PerUnit})


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
        raise InvalidInputError(f"{where}: {first['msg']}", where=where) from error
