"""Turns decoded events into one frame per kind, a row an event, times in microseconds.

Invariant: no float column exists; null is unknown and stays null.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import polars as pl

from ledger.domain.metering.fact import STATUSES, Kind
from ledger.domain.metering.structs import (
    NO_AGENT,
    NO_ENGINE,
    NO_INPUT,
    NO_OUTPUT,
    CorrectionEvent,
    CountersEvent,
    EnergyEvent,
    UsageEvent,
)
from ledger.domain.metering.times import parse_times

INPUT = ("uncached", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "tool_use")
OUTPUT = ("visible", "reasoning", "rejected_prediction")
TIMES = ("time", "started_at", "first_token_at", "ended_at", "recordedtime")
USAGE_INTS = ("input_total", "output_total", "context_tokens")
DATA_TEXTS = (
    "customer_id",
    "project_id",
    "api_key_id",
    "end_user_id",
    "served_model",
    "response_model",
    "request_model",
    "adapter",
    "service_tier_served",
    "region",
    "supersedes",
    "supersedes_source",
)
# Who, what and where by the columns as they are sent, and the column that tells rows apart by them:
# rows with the same number in it are alike in all of these.
NAMING = frozenset(DATA_TEXTS[:3] + DATA_TEXTS[4:10]) | {"subject", "agent_id", "engine_instance"}
NAMES = "names"
Column = tuple[str, Any, Any]


def usage_frame(
    events: Sequence[UsageEvent | CorrectionEvent], rows: Sequence[int]
) -> pl.DataFrame:
    """Attempts and corrections: `row` is the place in the call, leaves still as sent."""
    data = [event.data for event in events]
    usage = [one.usage for one in data]
    columns = [
        ("row", rows, pl.Int64),
        ("kind", [_kind(event) for event in events], pl.Int8),
        *_envelope(events),
        *_texts(DATA_TEXTS, data),
        *_ints(("requests", "revision"), data),
        *_ints(INPUT, [one.input or NO_INPUT for one in usage], "in_"),
        *_ints(OUTPUT, [one.output or NO_OUTPUT for one in usage], "out_"),
        *_ints(USAGE_INTS, usage),
        ("usage_source", [one.source for one in usage], pl.String),
        ("complete", [one.complete for one in usage], pl.Boolean),
        ("stream", [one.stream for one in data], pl.Boolean),
        ("status", [STATUSES.index(one.status or "") for one in data], pl.Int8),
        *_who_and_where(data),
        *_texts(("started_at", "first_token_at", "ended_at"), data),
    ]
    return _with_times(columns).with_columns(pl.col("row").alias(NAMES))


def energy_frame(events: Sequence[EnergyEvent], rows: Sequence[int]) -> pl.DataFrame:
    """Raw cumulative readings of GPUs, energy in mJ, power in mW."""
    data = [event.data for event in events]
    columns = [
        ("row", rows, pl.Int64),
        *_envelope(events),
        *_texts(("gpu_uuid", "epoch", "method", "quality", "scope", "sampled_at"), data),
        *_ints(("energy_mj", "power_mw"), data),
        ("mig", [one.mig for one in data], pl.Boolean),
    ]
    return _with_times(columns)


def counters_frame(events: Sequence[CountersEvent], rows: Sequence[int]) -> pl.DataFrame:
    """Scrapes, a row each; `values` is a list of (name, value text, labels, precision loss)."""
    data = [event.data for event in events]
    columns = [
        ("row", rows, pl.Int64),
        *_envelope(events),
        *_texts(("engine", "instance", "run_id", "run_started_at"), data),
        ("values", [_values(event) for event in events], pl.Object),
    ]
    return _with_times(columns)


def _kind(event: UsageEvent | CorrectionEvent) -> int:
    return Kind.REPLACEMENT if isinstance(event, CorrectionEvent) else Kind.ORIGINAL


def _envelope(events: Sequence[Any]) -> list[Column]:
    names = ("id", "source", "subject", "datacontenttype", "time", "recordedtime")
    return _texts(names, events)


def _who_and_where(data: Sequence[Any]) -> list[Column]:
    agents = [one.agent or NO_AGENT for one in data]
    engines = [one.engine or NO_ENGINE for one in data]
    claims = [one.provider_cost for one in data]
    return [
        ("agent_id", _list("id", agents), pl.String),
        ("agent_run_id", _list("run_id", agents), pl.String),
        ("engine_instance", _list("instance", engines), pl.String),
        ("cost_amount", [c and c.amount for c in claims], pl.String),
        ("cost_currency", [c and c.currency for c in claims], pl.String),
    ]


def _values(event: CountersEvent) -> tuple[tuple[str, str, dict[str, str], bool], ...]:
    return tuple((v.name, v.value, v.labels, v.precision_loss) for v in event.data.values)


def _texts(names: Iterable[str], owners: Sequence[Any]) -> list[Column]:
    return [(name, _list(name, owners), pl.String) for name in names]


def _ints(names: Iterable[str], owners: Sequence[Any], prefix: str = "") -> list[Column]:
    return [(prefix + name, _list(name, owners), pl.Int64) for name in names]


def _list(name: str, owners: Sequence[Any]) -> list[Any]:
    read: Callable[[Any], Any] = attrgetter(name)
    return list(map(read, owners))


@lru_cache
def no_usage() -> pl.DataFrame:
    """The frame of no attempts."""
    return usage_frame([], [])


@lru_cache
def no_energy() -> pl.DataFrame:
    """The frame of no readings."""
    return energy_frame([], [])


@lru_cache
def no_counters() -> pl.DataFrame:
    """The frame of no scrapes."""
    return counters_frame([], [])


def _with_times(columns: Sequence[Column]) -> pl.DataFrame:
    frame = pl.DataFrame([pl.Series(name, values, dtype) for name, values, dtype in columns])
    found = [name for name in (*TIMES, "sampled_at", "run_started_at") if name in frame.columns]
    unread = [frame[name].is_not_null() for name in found]
    parsed = [parse_times(frame[name]) for name in found]
    bad = [u & p.is_null() for u, p in zip(unread, parsed, strict=True)]
    any_bad = pl.DataFrame(bad).select(pl.any_horizontal(pl.all()).alias("bad_time")).to_series()
    return frame.with_columns(*parsed, any_bad)
