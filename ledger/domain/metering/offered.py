"""What an event said, as an event again, from what was read of it, for whoever looks at it later.

Invariant: read again it has the content digest of the event it was; end users are left out of both.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ledger.domain.metering.fact import STATUSES, Kind
from ledger.domain.metering.kept import (
    COUNTERS_COLUMNS,
    ENERGY_COLUMNS,
    GAPS_COLUMNS,
    STATUS,
    TIMES,
    USAGE_COLUMNS,
    KeptColumn,
)
from ledger.domain.metering.prepare import Prepared
from ledger.domain.period import EPOCH, MICROSECOND
from ledger.wire.errors import storable
from ledger.wire.limits import CORRECTION, COUNTERS, ENERGY, METER_GAP, USAGE
from ledger.wire.rfc3339 import format_rfc3339

Event = dict[str, Any]
Row = Mapping[str, Any]
_UNREAD_CHARS_MAX = 64 * 1024


def offered_lines(prepared: Prepared, rows: Sequence[int]) -> list[str]:
    """Rows of a call as lines of JSON; one that is no event as text, cut where it is very long."""
    wanted = pl.Series(rows, dtype=pl.Int64).implode()
    ids = prepared.ids(rows)
    events: dict[int, dict[str, Any]] = {}
    for kind, frame in prepared.decoded.items():
        for values in frame.filter(pl.col("row").is_in(wanted)).iter_rows(named=True):
            event = _EVENTS[kind](values)
            # An event of a batch has its place as id.
            event["id"] = ids[values["row"]]
            events[values["row"]] = event
    return [
        json.dumps(events[row], separators=(",", ":")) if row in events else _unread(prepared, row)
        for row in rows
    ]


def _unread(prepared: Prepared, row: int) -> str:
    return storable(prepared.items[row].decode("utf-8", "replace"), _UNREAD_CHARS_MAX)


def _flat(columns: Sequence[KeptColumn], row: Row) -> Event:
    event: dict[str, Any] = {"specversion": "1.0", "data": {}}
    for column in columns:
        value = row.get(column.name)
        if column.name == "end_user_id" or value is None or value in ("", column.default):
            continue
        _put(event, column.path, _shown(column.name, value))
    return event


def _put(event: dict[str, Any], path: Sequence[str], value: object) -> None:
    *parents, leaf = path
    holder = event
    for name in parents:
        holder = holder.setdefault(name, {})
    holder[leaf] = value


def _shown(name: str, value: Any) -> object:
    if name in TIMES:
        return format_rfc3339(EPOCH + value * MICROSECOND)
    return STATUSES[value] if name == STATUS else value


def _usage(row: Row) -> Event:
    event = _flat(USAGE_COLUMNS, row)
    event["type"] = CORRECTION if row["kind"] == Kind.REPLACEMENT else USAGE
    if row["customer_ref"]:
        event.pop("subject", None)
        event["data"]["customer_id"] = row["customer_ref"]
    return event


def _energy(row: Row) -> Event:
    return _flat(ENERGY_COLUMNS, row) | {"type": ENERGY}


def _gap(row: Row) -> Event:
    return _flat(GAPS_COLUMNS, row) | {"type": METER_GAP}


def _counters(row: Row) -> Event:
    event = _flat(COUNTERS_COLUMNS, row)
    event["data"]["values"] = [
        {"name": name, "value": value, "labels": labels, "precision_loss": lost}
        for name, value, labels, lost in row["values"]
    ]
    return event | {"type": COUNTERS}


_EVENTS = {"usage": _usage, "energy": _energy, "counters": _counters, "gaps": _gap}
