"""Turns bytes into events, or into the reason why one cannot be counted.

Invariant: one bad event costs only itself, and keeps its raw bytes and its place.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.domain.fact import Content, Correction, CounterReading, Flag, GpuReading, Scrape
from ledger.domain.fact import Tokens as FactTokens
from ledger.domain.fact import Usage as FactUsage
from ledger.wire.errors import EventError, LineError
from ledger.wire.events import (
    FUTURE_TOLERANCE,
    CorrectionEvent,
    CountersEvent,
    EnergyEvent,
    Event,
    ReservationEvent,
    UsageEvent,
    parse_event,
)
from ledger.wire.ndjson import decode_line, iter_lines
from ledger.wire.usage import TokenLeaves, UsageData

RAW_BYTES_MAX = 64 * 1024
_ABORTED = frozenset({"client_aborted", "timeout", "budget_stopped"})
_FAILED = frozenset({"rejected", "provider_error", "engine_error"})


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an event is quarantined: a stable code, and what a person needs to know."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Item:
    """One event of a record at its place (`ordinal` from 0), decoded or rejected."""

    ordinal: int
    raw: bytes
    source: str
    event_id: str
    content: Content | Rejection


def decode(body: bytes, now: datetime) -> list[Item]:
    """Events of a body: NDJSON lines, one JSON object, or a JSON array; never raises for content.

    An event more than five minutes ahead of `now` is rejected.
    """
    return [_item(ordinal, raw, found, now) for ordinal, (raw, found) in enumerate(_objects(body))]


def _objects(body: bytes) -> Iterator[tuple[bytes, Mapping[str, Any] | Rejection]]:
    stripped = body.strip()
    if stripped.startswith(b"["):
        yield from _array(stripped)
        return
    if b"\n" in stripped:
        whole = _try_object(stripped)
        if whole is not None:
            yield stripped, whole
            return
    for line in iter_lines(body):
        try:
            yield line, decode_line(line)
        except LineError as error:
            yield line, Rejection("malformed", str(error))


def _try_object(body: bytes) -> Mapping[str, Any] | None:
    # Pretty-printed JSON has line ends too; NDJSON never parses as one value.
    first = body.split(b"\n", 1)[0].rstrip()
    if first != b"{" and not first.endswith((b",", b"{", b"[")):
        return None
    try:
        return decode_line(body)
    except LineError:
        return None


def _array(body: bytes) -> Iterator[tuple[bytes, Mapping[str, Any] | Rejection]]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        yield body, Rejection("malformed", f"the array is not JSON: {error}")
        return
    for value in values:
        raw = json.dumps(value, ensure_ascii=False).encode()
        if isinstance(value, dict):
            yield raw, value
        else:
            yield raw, Rejection("malformed", "an element of the array is no object")


def _item(ordinal: int, raw: bytes, found: Mapping[str, Any] | Rejection, now: datetime) -> Item:
    if isinstance(found, Rejection):
        return Item(ordinal, raw, "", "", found)
    source, event_id = _text(found.get("source")), _text(found.get("id"))
    try:
        content = _content(parse_event(found), now)
    except EventError as error:
        content = Rejection(_code(error), "; ".join(str(problem) for problem in error.problems))
    return Item(ordinal, raw, source, event_id, content)


def _content(event: Event, now: datetime) -> Content | Rejection:
    if event.time > now + FUTURE_TOLERANCE:
        return Rejection(
            "future_time", f"time: {event.time.isoformat()} is more than 5 minutes ahead of us"
        )
    match event:
        case UsageEvent():
            return _usage(event.data, event.time, event.customer_id or "")
        case CorrectionEvent():
            source, target = event.original
            usage = _usage(event.data, event.time, event.customer_id or "")
            return Correction(usage, source, target, event.data.revision)
        case EnergyEvent():
            return _gpu_reading(event)
        case CountersEvent():
            return _scrape(event)
        case ReservationEvent():
            return Rejection(
                "unsupported_type", "reservations are not kept yet; send the usage when it is known"
            )


def _usage(data: UsageData, time: datetime, customer_ref: str) -> FactUsage:
    leaves = data.usage.leaves()
    tokens = _tokens(leaves)
    engine, agent, claim = data.engine, data.agent, data.provider_cost
    context = data.usage.context_tokens
    if context is None:
        inputs = tokens.uncached + tokens.cache_read + tokens.cache_write
        context = inputs // data.requests
    return FactUsage(
        time=time,
        started_at=data.started_at,
        first_token_at=data.first_token_at,
        ended_at=data.ended_at or time,
        requests=data.requests,
        tokens=tokens,
        flags=_flags(data, leaves),
        customer_ref=customer_ref,
        project_id=data.project_id or "",
        api_key_id=data.api_key_id or "",
        agent_id=(agent.id or "") if agent else "",
        tier=data.service_tier_served or "",
        model=data.model or "",
        adapter=data.adapter or "",
        region=data.region or "",
        context_tokens=context,
        engine_instance=(engine.instance or "") if engine else "",
        agent_run_id=(agent.run_id or "") if agent else "",
        end_user_id=data.end_user_id or "",
        provider_amount=claim.amount if claim else None,
        provider_currency=claim.currency if claim else "",
    )


def _tokens(leaves: TokenLeaves) -> FactTokens:
    writes = (leaves.cache_write, leaves.cache_write_5m, leaves.cache_write_1h)
    return FactTokens(
        uncached=(leaves.uncached or 0) + (leaves.tool_use or 0),
        cache_read=leaves.cache_read or 0,
        cache_write=sum(write or 0 for write in writes),
        visible=(leaves.visible or 0) + (leaves.rejected_prediction or 0),
        reasoning=leaves.reasoning or 0,
    )


def _flags(data: UsageData, leaves: TokenLeaves) -> Flag:
    flags = Flag(0)
    for flag, holds in (
        (Flag.SPLIT_UNKNOWN, leaves.split_unknown),
        (Flag.INCOMPLETE, data.usage.complete is False),
        (Flag.INPUT_UNKNOWN, leaves.uncached is None),
        (Flag.OUTPUT_UNKNOWN, leaves.visible is None),
        (Flag.ABORTED, data.status in _ABORTED),
        (Flag.FAILED, data.status in _FAILED),
        (Flag.STREAM, data.stream is True),
    ):
        flags |= flag if holds else Flag(0)
    return flags


def _gpu_reading(event: EnergyEvent) -> GpuReading:
    return GpuReading(
        gpu_uuid=event.data.gpu_uuid,
        epoch=event.data.epoch,
        sampled_at=event.time,
        energy_mj=event.data.energy_mj,
        power_mw=event.data.power_mw,
        method=event.data.method,
        quality=event.data.quality,
    )


def _scrape(event: CountersEvent) -> Scrape:
    return Scrape(
        engine=event.data.engine,
        engine_instance=event.data.instance,
        run_id=event.data.run_id,
        run_started_at=event.data.run_started_at,
        scraped_at=event.time,
        counters=tuple(
            CounterReading(
                metric=value.name,
                labels=tuple(sorted(value.labels.items())),
                value=value.value,
                precision_loss=value.precision_loss,
            )
            for value in event.data.values
        ),
    )


def _code(error: EventError) -> str:
    first = error.problems[0].field if error.problems else ""
    if first == "type":
        return "unknown_type"
    return "missing_time" if first == "time" else "invalid"


def _text(value: object) -> str:
    return value[:256] if isinstance(value, str) else ""
