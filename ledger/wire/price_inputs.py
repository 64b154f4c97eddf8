"""Prices and rate cards as people enter them; `kind` says which fields a price takes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ledger.wire.errors import FieldError, problem_at
from ledger.wire.extras import EXTRAS
from ledger.wire.input_fields import (
    METER_OF,
    SCALE_MAX,
    Currency,
    Identifier,
    Label,
    Meter,
    PowerOfTen,
    Price,
    PrintedName,
)
from ledger.wire.inputs import DatedInput, InputModel
from ledger.wire.price_matrix import Dimension, PriceCell, check_cells, said_by
from ledger.wire.rules import SizeRule
from ledger.wire.tax_inputs import Percent
from ledger.wire.usage import Outcome

PriceKind = Literal[
    "per_unit",
    "package",
    "graduated",
    "volume",
    "included",
    "recurring",
    "commitment",
    "percent_off",
    "amount_off",
    "who_pays",
    "matrix",
    "cost_plus",
]
Payer = Literal["customer", "house"]
# What each kind of price takes beside whose usage it is for.
PRICE_FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "per_unit": ("amount", "per", "sku"),
        "package": ("amount", "size"),
        "graduated": ("tiers", "per"),
        "volume": ("tiers", "per"),
        "included": ("included", "amount", "per"),
        "recurring": ("amount", "every", "billed"),
        "commitment": ("amount", "every"),
        "percent_off": ("percent", "on"),
        "amount_off": ("amount", "every"),
        "who_pays": ("outcome", "pays"),
        "matrix": ("by", "cells", "per", "sku"),
        "cost_plus": ("markup",),
    }
)
# Kinds that are entered as several prices of another.
SPELLED_OUT = ("matrix",)
# The meter that a kind of no usage is of.
_METERS: Mapping[str, str] = MappingProxyType(
    {
        "recurring": "fee",
        "commitment": "commitment",
        "percent_off": "discount",
        "amount_off": "discount",
        "who_pays": "outcome",
        "cost_plus": "cost",
    }
)
# Whose usage a price is for, and those of them that prices of no meter of usage may name.
MATCH = ("project_id", "agent_id", "model", "tier", "adapter", "region", "band_from", "hours")
_SCOPE = MATCH[:-2]
_SCOPED = ("percent_off", "who_pays", "cost_plus")
# What is counted beside tokens: a million of them is not what a price is usually for.
UNITS = ("requests", *(name for name, extra in EXTRAS.items() if extra.of is None))
# What some kinds take and others must not have.
_TERMS = (
    *("amount", "tiers", "size", "included", "every", "percent", "outcome", "pays"),
    *("by", "cells", "markup"),
)
_TIER = re.compile(r"(\d+)(?:-(\d*))?:([^:+]+)(?:\+([^:+]+))?", re.ASCII)


# What a kind may leave out of its own fields.
_OPTIONAL = frozenset({"per", "on", "billed", "sku"})


@dataclass(frozen=True, slots=True)
class KindOfPrice:
    """What a kind of price says: of which meters it may be, what it has to say and what it may."""

    meters: tuple[str, ...]
    required: frozenset[str]
    optional: frozenset[str]


def kind_of_price(kind: str) -> KindOfPrice:
    """What a price of a kind says, by the table of kinds."""
    own, meter = frozenset(PRICE_FIELDS[kind]), _METERS.get(kind)
    required = {"meter", "kind", "valid_from"} | own - _OPTIONAL
    optional = {"valid_to"} | own & _OPTIONAL
    if meter is None:
        meters = tuple(name for name in METER_OF if name not in _METERS.values())
        return KindOfPrice(meters, frozenset(required), frozenset(optional) | {*MATCH})
    if kind in _SCOPED:
        optional |= {*_SCOPE}
    if meter == "discount":
        required |= {"name"}
    elif meter != "outcome":
        optional |= {"name"}
    return KindOfPrice((meter,), frozenset(required), frozenset(optional))


def read_tier(text: str) -> dict[str, object]:
    """A tier written as `START-END:AMOUNT+FLAT`; FieldError for other text."""
    tier = _TIER.fullmatch(text.replace(" ", ""))
    if tier is None:
        raise FieldError("send a tier like 0-1000000:5 or 1000000-:4+100")
    start, end, amount, flat = tier.groups()
    said: dict[str, object] = {"start": int(start), "amount": amount}
    return said | ({"end": int(end)} if end else {}) | ({"flat": flat} if flat else {})


class PriceTier(InputModel):
    """Units behind the first `start` up to `end` (none: all) at `amount`, and `flat` once where any
    of them is used. As text: `0-1000000:5`, `1000000-:4+100`."""

    start: Annotated[int, Field(ge=0, le=2**62)]
    end: Annotated[int, Field(ge=1, le=2**62)] | None = None
    amount: Price
    flat: Price = Decimal(0)

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, said: object) -> object:
        return read_tier(said) if isinstance(said, str) else said


class PriceTerms(DatedInput):
    """A price of one meter and whose usage it is for; input, cached_input and output name meters.
    One of what is counted beside tokens says `per` how many it is.

    A field left out matches any. A `model` that ends with * is all that begin so. Above `band_from`
    tokens of context the price applies. `hours` of the week read like `mon-fri 22:00-06:00 Europe/
    Copenhagen`. `kind` says how: per_unit takes `amount` for `per` tokens, a power of ten; package
    `amount` for each begun `size`; graduated and volume `tiers`, each for `per`; included the
    first `included` for nothing, then `amount` for `per`. Meters fee and commitment are of no
    usage: kinds recurring and commitment take `amount` and `every`, fees of a card a `name` each,
    `billed` in advance or, as all else, in arrears.
    Of meter discount, percent_off takes `percent` off the usage that it matches, of all meters or
    `on` one, amount_off `amount` off all usage of `every` month; each has a `name`. Of meter
    outcome, who_pays says whether `customer` or `house` `pays` for attempts of an `outcome`.
    Of meter cost, cost_plus asks for what the usage it matches was allocated of the factory's cost,
    and `markup` per cent of it. A matrix says `by` which one or two of the fields above its `cells`
    differ: it is entered as a price per unit for each of them. What has a `sku` is called so on the
    invoice.
    """

    meter: Meter
    project_id: Label | None = None
    agent_id: Label | None = None
    model: Label | None = None
    tier: Label | None = None
    adapter: Label | None = None
    region: Label | None = None
    band_from: Annotated[int, Field(ge=0, le=2**62)] | None = None
    hours: Label | None = None
    name: Label | None = None
    kind: PriceKind = "per_unit"
    amount: Price | None = None
    per: PowerOfTen = 1_000_000
    tiers: Annotated[tuple[PriceTier, ...], SizeRule()] = ()
    size: Annotated[int, Field(ge=1, le=2**62)] | None = None
    included: Annotated[int, Field(ge=0, le=2**62)] | None = None
    every: Literal["month"] | None = None
    billed: Literal["arrears", "advance"] = "arrears"
    percent: Percent | None = None
    on: Meter | None = None
    outcome: Outcome | None = None
    pays: Payer | None = None
    by: Annotated[tuple[Dimension, ...], SizeRule(), Field(max_length=2)] = ()
    cells: Annotated[tuple[PriceCell, ...], SizeRule()] = ()
    markup: Annotated[Price, Field(le=10_000)] | None = None
    sku: Label | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        takes = PRICE_FIELDS[self.kind]
        if self.on is not None and ("on" not in takes or self.on in _METERS.values()):
            raise problem_at("on", self.on, "send a meter of usage, with kind percent_off")
        for field in _TERMS:
            given = getattr(self, field)
            missing = given is None or given == ()
            if missing and field in takes:
                raise problem_at(field, "nothing", f"send it with kind {self.kind}")
            if not missing and field not in takes:
                raise problem_at(field, str(given), f"leave it out with kind {self.kind}")
        if "per" in takes and self.amount is not None:
            self._check_digits(self.amount, "amount")
        for n, tier in enumerate(self.tiers):
            self._check_digits(tier.amount, f"tiers.{n}.amount")
        for n, cell in enumerate(self.cells):
            self._check_digits(cell.amount, f"cells.{n}.amount")
        return self

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        takes = PRICE_FIELDS[self.kind]
        is_said = "per" in self.model_fields_set
        if self.meter in UNITS and "per" in takes and not is_said:
            action = f"send it with meter {self.meter}: 1 is each of them"
            raise problem_at("per", "nothing", action)
        if self.billed == "advance" and "billed" not in takes:
            raise problem_at("billed", self.billed, f"leave it out with kind {self.kind}")
        if self.sku is not None and "sku" not in takes:
            raise problem_at("sku", self.sku, f"leave it out with kind {self.kind}")
        return self

    @model_validator(mode="after")
    def _check_matrix(self) -> Self:
        for n, dimension in enumerate(self.by):
            if dimension in self.by[:n]:
                raise problem_at(f"by.{n}", dimension, "name another dimension, or one alone")
            if getattr(self, dimension) is not None:
                action = "leave it out: the cells of the matrix say it"
                raise problem_at(dimension, getattr(self, dimension), action)
        check_cells(self.by, self.cells)
        return self

    @model_validator(mode="after")
    def _check_meter(self) -> Self:
        wanted = _METERS.get(self.kind)
        if wanted is None and self.meter in _METERS.values():
            kinds = " or ".join(kind for kind, meter in _METERS.items() if meter == self.meter)
            raise problem_at("kind", self.kind, f"send {kinds} with meter {self.meter}")
        if wanted is not None and self.meter != wanted:
            raise problem_at("meter", self.meter, f"send {wanted} with kind {self.kind}")
        if wanted in (None, "outcome") and self.name is not None:
            raise problem_at("name", self.name, "leave it out: fees and the like have names")
        if wanted == "discount" and self.name is None:
            raise problem_at("name", "nothing", "send it: its line of the invoice says it")
        scoped = _SCOPE if self.kind in _SCOPED else ()
        for field in MATCH:
            if wanted is not None and field not in scoped and getattr(self, field) is not None:
                raise problem_at(field, getattr(self, field), f"leave it out of a {self.meter}")
        return self

    def _check_digits(self, amount: Decimal, field: str) -> None:
        exponent = amount.normalize().as_tuple().exponent
        assert isinstance(exponent, int)
        if max(0, -exponent) + len(str(self.per)) - 1 > SCALE_MAX:
            action = f"send fewer decimals: one unit must have at most {SCALE_MAX}"
            raise problem_at(field, str(amount), action)

    def spelled_out(self) -> list[Self]:
        """A matrix as prices per unit, one a cell; any other kind as it is."""
        if self.kind not in SPELLED_OUT:
            return [self]
        return [
            self.model_copy(
                update={
                    **{"kind": "per_unit", "by": (), "cells": (), "amount": cell.amount},
                    **said_by(self.by, cell),
                }
            )
            for cell in self.cells
        ]


class NewPrice(PriceTerms):
    """A price on a rate card."""

    rate_card_id: Identifier


class NewRateCard(InputModel):
    """A card of an entity, with its first prices or without. One that is `like` another begins with
    the prices of that card too, but where its own take their place."""

    rate_card_id: Identifier
    entity_id: Identifier
    name: PrintedName
    currency: Currency
    like: Identifier | None = None
    prices: Annotated[tuple[PriceTerms, ...], SizeRule()] = ()
