"""The fields of events that the ledger keeps, a column each, once for all readers.

What a column holds and what stands in it where nobody said follow from the table of fields.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ledger.domain.metering.fact import STATUSES
from ledger.wire.events import EVENT_TYPES
from ledger.wire.limits import CORRECTION, COUNTERS, ENERGY, METER_GAP, USAGE
from ledger.wire.rules import BoolRule, TimeRule, WholeRule
from ledger.wire.schema import Form, Path, fields_of, walk
from ledger.wire.usage import InputLeaves, OutputLeaves

INPUT, OUTPUT = tuple(fields_of(InputLeaves)), tuple(fields_of(OutputLeaves))
STATUS = "status"


@dataclass(frozen=True, slots=True)
class KeptColumn:
    """A column and the field it is of; a time is in microseconds, a status its number."""

    name: str
    path: Path
    dtype: type[pl.DataType]
    default: object
    is_time: bool


def _at(path: Path, names: Iterable[str], prefix: str = "") -> dict[str, Path]:
    return {prefix + name: (*path, name) for name in names}


_DATA = ("data",)
_ENVELOPE = _at((), ("id", "source", "subject", "datacontenttype", "time", "recordedtime"))
# Who, what and where, as it is sent.
_NAMING = {
    "subject": ("subject",),
    **_at(_DATA, ("customer_id", "project_id", "api_key_id")),
    **_at(_DATA, ("served_model", "response_model", "request_model", "adapter")),
    **_at(_DATA, ("service_tier_served", "region")),
    "agent_id": ("data", "agent", "id"),
    "engine_instance": ("data", "engine", "instance"),
}
_USAGE = {
    **_ENVELOPE,
    **_NAMING,
    **_at(_DATA, ("end_user_id", "supersedes", "supersedes_source", "requests", "revision")),
    **_at(("data", "usage", "input"), INPUT, "in_"),
    **_at(("data", "usage", "output"), OUTPUT, "out_"),
    **_at(("data", "usage"), ("input_total", "output_total", "context_tokens", "complete")),
    "usage_source": ("data", "usage", "source"),
    **_at(_DATA, ("stream", STATUS, "reservation_id")),
    **_at(_DATA, ("attempt", "retry_of", "hedged", "fallback_from")),
    "agent_run_id": ("data", "agent", "run_id"),
    **_at(("data", "agent"), ("parent_id", "parent_run_id", "step"), "agent_"),
    **_at(("data", "provider_cost"), ("amount", "currency"), "cost_"),
    **_at(_DATA, ("started_at", "first_token_at", "ended_at", "queue_ms")),
}
_ENERGY = {
    **_ENVELOPE,
    **_at(_DATA, ("gpu_uuid", "epoch", "method", "quality", "scope", "sampled_at")),
    **_at(_DATA, ("energy_mj", "power_mw", "mig", "boot_id", "driver_load", "monotonic_us")),
}
_COUNTERS = {**_ENVELOPE, **_at(_DATA, ("engine", "instance", "run_id", "run_started_at"))}

_GAPS = {**_ENVELOPE, **_at(_DATA, ("gpu_uuid", "reason", "since", "detail"))}


def _columns(kind: str, kept: Mapping[str, Path]) -> Sequence[KeptColumn]:
    entries = dict(walk(Form(shape=EVENT_TYPES[kind])))
    columns = []
    for name, path in kept.items():
        entry = entries[path]
        is_time = isinstance(entry.form.rule, TimeRule)
        dtype: type[pl.DataType] = pl.String
        if is_time or isinstance(entry.form.rule, WholeRule):
            dtype = pl.Int64
        if isinstance(entry.form.rule, BoolRule):
            dtype = pl.Boolean
        default = entry.default
        if name == STATUS:
            dtype, default = pl.Int8, 0
        columns.append(KeptColumn(name, path, dtype, default, is_time))
    return tuple(columns)


USAGE_COLUMNS = _columns(USAGE, _USAGE)
ENERGY_COLUMNS = _columns(ENERGY, _ENERGY)
COUNTERS_COLUMNS = _columns(COUNTERS, _COUNTERS)
GAPS_COLUMNS = _columns(METER_GAP, _GAPS)
COLUMNS = {
    USAGE: USAGE_COLUMNS,
    CORRECTION: USAGE_COLUMNS,
    ENERGY: ENERGY_COLUMNS,
    COUNTERS: COUNTERS_COLUMNS,
    METER_GAP: GAPS_COLUMNS,
}
NAMING_PATHS = tuple(_NAMING.values())
TIMES = frozenset(each.name for columns in COLUMNS.values() for each in columns if each.is_time)


def status_number(status: str | None) -> int:
    """The number of a status; 0 is unknown."""
    return STATUSES.index(status or "")
