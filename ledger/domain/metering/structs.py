"""The events as strict structs, made of their shapes: what the fast decoder accepts.

Invariant: whatever decodes here and passes `validate` is accepted by `wire.parse` with the same
values, times and decimals still text; the reverse need not hold, because what fails here is read
again by that reference.
"""

from functools import cache
from operator import getitem, or_
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta, Struct

from ledger.wire.events import EVENT_TYPES
from ledger.wire.limits import CORRECTION, COUNTERS, ENERGY, METER_GAP, USAGE
from ledger.wire.rules import BoolRule, Rule, SizeRule, TextRule, WholeRule
from ledger.wire.schema import FieldEntry, Form, fields_of

TAG = "type"


class DecodedEvent(Protocol):
    """An event as its struct: what every one of them has; its other fields are the shape's."""

    @property
    def id(self) -> str:
        """The id."""

    @property
    def source(self) -> str:
        """The source."""

    @property
    def data(self) -> object:
        """What its type says, in the struct of that."""


@cache
def struct_of(shape: type, tag: str | None = None) -> type[Struct]:
    """The struct of a shape, with the shape's fields and no checks over several of them."""
    entries = [entry for name, entry in fields_of(shape).items() if tag is None or name != TAG]
    return msgspec.defstruct(
        shape.__name__,
        [_field(entry) for entry in entries],
        frozen=True,
        kw_only=True,
        # What holds no container is in no circle.
        gc=any(entry.form.shape or entry.form.inner for entry in entries),
        tag_field=None if tag is None else TAG,
        tag=tag,
    )


def _field(entry: FieldEntry) -> tuple[str, type] | tuple[str, type, object]:
    kind = _type(entry.form)
    if entry.required:
        return entry.name, kind
    if entry.default is None and not entry.form.nullable:
        return entry.name, kind, msgspec.field(default_factory=dict)
    return entry.name, kind, entry.default


def _type(form: Form) -> type:
    kind: type = or_(_bare(form), None) if form.nullable else _bare(form)
    return kind


def _bare(form: Form) -> type:
    if form.shape is not None:
        return struct_of(form.shape)
    if form.literal:
        return _subscribed(Literal, form.literal)
    if form.inner is None:
        return _value(form.rule)
    inner = _type(form.inner)
    kind = (
        _subscribed(dict, (_value(form.names), inner)) if form.names else _subscribed(list, inner)
    )
    high = form.rule.high if isinstance(form.rule, SizeRule) else None
    return _subscribed(Annotated, (kind, Meta(max_length=high)))


def _value(rule: Rule | None) -> type:
    if isinstance(rule, BoolRule):
        return bool
    if isinstance(rule, WholeRule):
        return _subscribed(Annotated, (int, Meta(ge=rule.low, le=rule.high)))
    if isinstance(rule, TextRule):
        # To msgspec a $ lets a newline pass behind it.
        pattern = None if rule.pattern is None else rule.pattern.replace("$", r"\Z")
        bounds = Meta(min_length=rule.low or None, max_length=rule.high, pattern=pattern)
        return _subscribed(Annotated, (str, bounds))
    return str


def _subscribed(form: object, said: object) -> type:
    """A type that is made as its form is written, with what stands in its brackets."""
    made: type = getitem(form, said)  # type: ignore[call-overload]
    return made


def _struct(kind: str) -> type[Struct]:
    shape: type = EVENT_TYPES[kind]
    return struct_of(shape, kind)


EnergyEvent, CountersEvent = _struct(ENERGY), _struct(COUNTERS)
MeterGapEvent = _struct(METER_GAP)
CorrectionEvent = _struct(CORRECTION)
_UsageEvent = _struct(USAGE)
FAST: msgspec.json.Decoder[DecodedEvent] = msgspec.json.Decoder(
    _UsageEvent | CorrectionEvent | EnergyEvent
)
CANONICAL: msgspec.json.Decoder[DecodedEvent] = msgspec.json.Decoder(
    _UsageEvent | CorrectionEvent | EnergyEvent | CountersEvent | MeterGapEvent
)
