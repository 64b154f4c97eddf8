"""Reads one event as pydantic reads its shape, and says everything that is wrong with it."""

from collections.abc import Mapping
from functools import cache

from pydantic import TypeAdapter, ValidationError

from ledger.wire.errors import EventError, Problem, shorten
from ledger.wire.events import EVENT_TYPES, Event
from ledger.wire.problems import list_problems


def parse_event(raw: object) -> Event:
    """Read one structured CloudEvent; raises EventError with every problem found."""
    if not isinstance(raw, Mapping):
        raise EventError([Problem("event", shorten(raw), "send one CloudEvents object")])
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in EVENT_TYPES:
        raise EventError([_type_problem(raw)])
    try:
        return _adapter(kind).validate_python(raw)
    except ValidationError as error:
        raise EventError(list_problems(error)) from error


def explain(raw: object) -> tuple[Problem, ...]:
    """Every reason why an event may not be counted; empty when it may."""
    try:
        parse_event(raw)
    except EventError as error:
        return error.problems
    return ()


def canonical_json(event: Event) -> bytes:
    """An event as JSON in one form: times in UTC, decimals as text, nothing unknown."""
    return _adapter(event.type).dump_json(event, exclude_none=True)


@cache
def _adapter(kind: str) -> TypeAdapter[Event]:
    return TypeAdapter(EVENT_TYPES[kind])


def _type_problem(raw: Mapping[object, object]) -> Problem:
    said = shorten(raw["type"]) if "type" in raw else "nothing"
    return Problem("type", said, f"send one of {', '.join(EVENT_TYPES)}", "unknown_type")
