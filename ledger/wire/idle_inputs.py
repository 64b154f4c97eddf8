"""Who pays for what stands idle: policies of an entity, entered by hand."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ledger.wire.errors import FieldError, problem_at
from ledger.wire.fields import Name
from ledger.wire.input_fields import Identifier, Label, Positive, Price
from ledger.wire.inputs import DatedInput

TIERS_MAX = 100


def _scope(text: str) -> str:
    kind, _, name = text.partition(":")
    if kind not in {"deployment", "asset"} or not name:
        raise FieldError("send deployment:ID or asset:ID")
    return text


def _share(value: Decimal) -> Decimal:
    if not 0 < value <= 1:
        raise FieldError("send a share above 0, up to 1")
    return value


Scope = Annotated[Name, AfterValidator(_scope)]
Share = Annotated[Price, AfterValidator(_share)]


class NewIdlePolicy(DatedInput):
    """Who pays for idle of a scope: of one deployment, of hardware of an asset that serves nothing,
    or, where none is named, of every deployment of the entity.

    `operator` keeps it; `use` spreads it by the cost attributed in the scope, `peak_share` by that
    of its dearest quarter hour. `reserved` says what share of the capacity each tier reserved:
    with `reserved_tier` a tier pays what it reserved and did not use, with `reserved_share` the
    rest goes by those shares too. Of an asset `reserved_share` goes by the GPUs of its deployments.
    """

    entity_id: Identifier
    scope: Scope | None = None
    version: Positive = 1
    method: Literal["operator", "use", "reserved_tier", "reserved_share", "peak_share"]
    reserved: Annotated[dict[Label, Share], Field(default_factory=dict, max_length=TIERS_MAX)]

    @model_validator(mode="after")
    def _check_reserved(self) -> Self:
        of_asset = self.scope is not None and self.scope.startswith("asset:")
        if of_asset and self.method in {"reserved_tier", "peak_share"}:
            raise problem_at("method", self.method, "send operator, use or reserved_share")
        wanted = self.method in {"reserved_tier", "reserved_share"} and not of_asset
        if wanted != bool(self.reserved):
            action = "send the share of each tier" if wanted else "leave it out"
            raise problem_at("reserved", self.reserved, f"{action} with {self.method}")
        whole = sum(self.reserved.values(), Decimal(0))
        if whole > 1:
            raise problem_at("reserved", str(whole), "send shares that come to 1 at most")
        return self
