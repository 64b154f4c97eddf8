"""Cells of a request log into usage events, each under its line number."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

import msgspec

from ledger.domain.errors import InvalidInputError
from ledger.wire.errors import RepeatedTimeError, Rfc3339Error
from ledger.wire.limits import CORRECTION, USAGE
from ledger.wire.rfc3339 import format_rfc3339, parse_rfc3339

COUNT, INSTANT, TEXT = "count", "instant", "text"
# What a column can mean: how it is read, and its place in the event.
TARGETS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "time": (INSTANT, ("time",)),
    "started_at": (INSTANT, ("data", "started_at")),
    "first_token_at": (INSTANT, ("data", "first_token_at")),
    "input": (COUNT, ("data", "usage", "input_total")),
    "uncached": (COUNT, ("data", "usage", "input", "uncached")),
    "cache_read": (COUNT, ("data", "usage", "input", "cache_read")),
    "cache_write": (COUNT, ("data", "usage", "input", "cache_write")),
    "output": (COUNT, ("data", "usage", "output_total")),
    "visible": (COUNT, ("data", "usage", "output", "visible")),
    "reasoning": (COUNT, ("data", "usage", "output", "reasoning")),
    "requests": (COUNT, ("data", "requests")),
    "customer": (TEXT, ("data", "customer_id")),
    "project": (TEXT, ("data", "project_id")),
    "api_key": (TEXT, ("data", "api_key_id")),
    "agent": (TEXT, ("data", "agent", "id")),
    "run": (TEXT, ("data", "agent", "run_id")),
    "tier": (TEXT, ("data", "service_tier_served")),
    "model": (TEXT, ("data", "served_model")),
    "adapter": (TEXT, ("data", "adapter")),
    "region": (TEXT, ("data", "region")),
    "instance": (TEXT, ("data", "engine", "instance")),
    "cost": (TEXT, ("data", "provider_cost", "amount")),
    "cost_currency": (TEXT, ("data", "provider_cost", "currency")),
}
_WITHOUT_OFFSET = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?", re.ASCII)
TOKENS = ("input", "uncached", "cache_read", "cache_write", "output", "visible", "reasoning")


@dataclass(frozen=True, slots=True)
class RowShape:
    """What the cells of a row mean, in their order, and what is said of every row.

    `fold` says which one a local time is that the zone has twice; None: such a row is refused.
    """

    source: str
    targets: tuple[str, ...]
    fixed: Mapping[str, str]
    zone: tzinfo
    fold: Literal[0, 1] | None = None

    def __post_init__(self) -> None:
        for target in (*self.targets, *self.fixed):
            if target not in TARGETS:
                raise InvalidInputError(
                    f"There is nothing called {target!r} in a request.",
                    f"Use {', '.join(TARGETS)}.",
                    "map",
                )
        twice = set(self.targets) & set(self.fixed)
        if twice or len(set(self.targets)) != len(self.targets):
            raise InvalidInputError(
                f"{', '.join(sorted(twice)) or 'A field'} is given twice.",
                "Map or set each field once.",
                "map",
            )
        self._check_present("time", ("time",), "when each request ended")
        self._check_present("tokens", TOKENS, "how many tokens it used")
        self._check_present("customer", ("customer",), "who is billed")

    def _check_present(self, name: str, wanted: Sequence[str], what: str) -> None:
        given = (*self.targets, *self.fixed)
        if not any(target in given for target in wanted):
            raise InvalidInputError(
                f"Nothing says {what}.",
                f"Give --map {wanted[0]}=COLUMN or --set {wanted[0]}=VALUE.",
                name,
            )


def usage_event(line: int, cells: Sequence[Any], shape: RowShape) -> dict[str, Any]:
    """The event of one row; what cannot be read stays as it is, for ingest to refuse by name."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(line),
        "source": shape.source,
        "type": USAGE,
        "data": {"usage": {}},
    }
    for target, value in zip(shape.targets, cells, strict=True):
        if value is not None and value != "":
            _put(event, target, value, shape)
    for target, value in shape.fixed.items():
        _put(event, target, value, shape)
    return event


def unread_time(event: Mapping[str, Any], shape: RowShape) -> str | None:
    """Why a local time of an event is no instant of its zone, and the way out; else None."""
    for target in (*shape.targets, *shape.fixed):
        kind, path = TARGETS[target]
        value = _found(event, path)
        if kind != INSTANT or not isinstance(value, str) or not _WITHOUT_OFFSET.fullmatch(value):
            continue
        try:
            _parsed(value, shape)
        except Rfc3339Error as error:
            return f"{target}: {error}; {_way_out(error)}"
    return None


def _found(event: Mapping[str, Any], path: Sequence[str]) -> Any:
    inner: Any = event
    for name in path:
        inner = inner.get(name, {})
    return inner


def _way_out(error: Rfc3339Error) -> str:
    offsets = "map a column of times with offsets"
    if isinstance(error, RepeatedTimeError):
        return f"say --fold first or --fold second, or {offsets}"
    return f"look at --tz, or {offsets}"


def names_no_zone(cells: Sequence[object], shape: RowShape) -> bool:
    """Whether a row has a time whose zone only `shape` says."""
    said = (*zip(shape.targets, cells, strict=True), *shape.fixed.items())
    return any(
        TARGETS[target][0] == INSTANT
        and isinstance(value, str)
        and _WITHOUT_OFFSET.fullmatch(value) is not None
        for target, value in said
    )


def correction_event(event: Mapping[str, Any], *, revision: int, mark: str) -> dict[str, Any]:
    """The same content as a correction of what is recorded under its line."""
    return {
        **event,
        "id": f"{event['id']}~{revision}-{mark}",
        "type": CORRECTION,
        "data": {**event["data"], "supersedes": event["id"], "revision": revision},
    }


def encode_line(event: Mapping[str, Any]) -> bytes:
    """An event as a line of NDJSON; its cells hold no floats."""
    try:
        return msgspec.json.encode(event) + b"\n"
    except (UnicodeEncodeError, OverflowError):
        # Escaped, it is still an event that ingest refuses by name, and stops no other row.
        return json.dumps(event).encode() + b"\n"


def _put(event: dict[str, Any], target: str, value: Any, shape: RowShape) -> None:
    kind, path = TARGETS[target]
    inner = event
    for name in path[:-1]:
        inner = inner.setdefault(name, {})
    inner[path[-1]] = _READ[kind](value, shape)


def _count(value: Any, _shape: RowShape) -> Any:
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit():
        return int(value) if len(value) < 20 else value
    return value


def _instant(value: Any, shape: RowShape) -> Any:
    # What names its instant already is left to ingest to read; only local times need the zone.
    if isinstance(value, str) and shape.zone is UTC and _WITHOUT_OFFSET.fullmatch(value):
        return f"{value[:10]}T{value[11:]}Z"
    try:
        return format_rfc3339(_parsed(value, shape)) if isinstance(value, str) else value
    except Rfc3339Error:
        return value


def _parsed(text: str, shape: RowShape) -> datetime:
    return parse_rfc3339(text, zone=shape.zone, fold=shape.fold)


def _text(value: Any, _shape: RowShape) -> Any:
    return str(value) if isinstance(value, int) else value


_READ = {COUNT: _count, INSTANT: _instant, TEXT: _text}
