"""What people enter by API, command line or file, as strict models: the slow facts of the ledger.

Decimals come as text or whole numbers, never as floats; times as RFC 3339 with an offset; validity
starts and ends on quarter hours of UTC. Unknown fields are refused, so that a typo is no default.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import NoneType
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ledger.wire.errors import InputError, problem_at
from ledger.wire.fields import Name, Names
from ledger.wire.input_fields import (
    Currency,
    Day,
    GridInstant,
    Identifier,
    Label,
    PositiveRate,
    Text,
    Zone,
)
from ledger.wire.problems import list_problems
from ledger.wire.rules import SizeRule


class InputModel(BaseModel):
    """Base of what is entered by hand: strict, unknown fields refused, unchangeable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DatedInput(InputModel):
    """Valid in [valid_from, valid_to), both on quarter hours of UTC; without an end it stays."""

    valid_from: GridInstant
    valid_to: GridInstant | None = None

    @model_validator(mode="after")
    def _check_period(self) -> Self:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            until = self.valid_to.isoformat()
            raise problem_at("valid_to", until, f"send a time after {self.valid_from.isoformat()}")
        return self


class NewAlias(DatedInput):
    """A name that a gateway, CRM or ERP uses for a customer."""

    alias: Label
    customer_id: Identifier


class NewSubscription(DatedInput):
    """A customer on a rate card; billing periods start on `anchor_day`, midnight in `zone`, or on
    the last day of a month that has no such day.

    Without a zone it is the entity's. With `models` it is for these, or all that begin so where one
    ends with *: a customer may have several at once whose models do not overlap.
    """

    subscription_id: Identifier
    customer_id: Identifier
    rate_card_id: Identifier
    zone: Zone | None = None
    anchor_day: Annotated[int, Field(ge=1, le=31)] = 1
    models: Names = ()


class FxRate(InputModel):
    """One unit of `base` costs `rate` units of `quote` on a day, says `source`."""

    base: Currency
    quote: Currency
    day: Day
    rate: PositiveRate
    source: Name

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if self.base == self.quote:
            raise problem_at("quote", self.quote, "send another currency than base")
        return self


class NewFxRates(InputModel):
    """Exchange rates of some days."""

    rates: Annotated[tuple[FxRate, ...], SizeRule(), Field(min_length=1, max_length=100_000)]


class NewApiKey(InputModel):
    """A key of one role: ingest keys name their sources, customer keys their customer.

    `tier` is what usage sent under an ingest key was served on where the event does not say.
    """

    role: Literal["admin", "finance", "ingest", "customer"]
    name: Text = ""
    entity_id: Identifier | None = None
    customer_id: Identifier | None = None
    sources: Names = ()
    customers: Names = ()
    tier: Label | None = None

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        if (self.role == "customer") != (self.customer_id is not None):
            action = "send the customer of a customer key, and of no other"
            raise problem_at("customer_id", self.customer_id, action)
        if self.role == "ingest" and not self.sources:
            raise problem_at("sources", "nothing", "name the sources an ingest key may write")
        if self.role != "ingest":
            self._check_not_ingest()
        return self

    def _check_not_ingest(self) -> None:
        for field in ("sources", "customers", "tier"):
            if getattr(self, field):
                raise problem_at(field, getattr(self, field), "leave it out: only ingest keys have")


M = TypeVar("M", bound=InputModel)


def read_input(model: type[M], raw: object) -> M:
    """Read decoded JSON; raises InputError with every problem found."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise InputError(list_problems(error)) from error


def read_field(model: type[BaseModel], name: str, value: object) -> object:
    """A value as a field of a model would have it; raises InputError that points to `of`."""
    info = model.model_fields.get(name)
    if info is None:
        return value
    try:
        read: object = TypeAdapter(info.rebuild_annotation()).validate_python(value)
    except ValidationError as error:
        problems = [replace(each, field=f"of.{name}") for each in list_problems(error)]
        raise InputError(problems) from error
    return read


def read_texts(model: type[M], cells: Mapping[str, str]) -> M:
    """Read a row of CSV; raises InputError.

    An empty cell is a field left out, `;` parts a list, `weights.output` is a field of a field, and
    `a=1; b=2` says values of names: where a name has several, blanks part them.
    """
    return read_input(model, typed_texts(model, cells))


def typed_texts(model: type[BaseModel], cells: Mapping[str, str]) -> dict[str, Any]:
    """The cells that are not empty, as values of the kinds their fields take."""
    typed: dict[str, Any] = {}
    nested: dict[str, dict[str, str]] = {}
    for name, text in cells.items():
        first, _, rest = name.partition(".")
        inner = _field_type(model, first)
        if not text:
            continue
        if rest and isinstance(inner, type) and issubclass(inner, BaseModel):
            nested.setdefault(first, {})[rest] = text
        else:
            typed[name] = _cell(inner, text)
    for first, of_field in nested.items():
        typed[first] = typed_texts(_field_type(model, first), of_field)
    return typed


def _field_type(model: type[BaseModel], name: str) -> Any:
    info = model.model_fields.get(name)
    if info is None:
        return None
    choices = [each for each in get_args(info.annotation) if each is not NoneType]
    kind = choices[0] if len(choices) == 1 else info.annotation
    return _bare(kind)


def _bare(kind: object) -> object:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _cell(kind: object, text: str) -> object:
    if kind is int and text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20:
        return int(text)
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if get_origin(kind) is tuple:
        inner = _bare(get_args(kind)[0])
        return [_cell(inner, part.strip()) for part in text.split(";") if part.strip()]
    if get_origin(kind) is dict:
        return _by_name(text, several=get_origin(_bare(get_args(kind)[1])) is tuple)
    return text


def _by_name(text: str, *, several: bool) -> dict[str, str | list[str]] | str:
    """Values by name; the text itself where a name is missing or said twice."""
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    said: dict[str, str | list[str]] = {
        name.strip(): value.split() if several else value.strip() for name, _, value in pairs
    }
    is_whole = len(said) == len(pairs) and all(equals for _, equals, _ in pairs)
    return said if is_whole else text
