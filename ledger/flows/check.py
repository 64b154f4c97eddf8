"""Checks: usage windows recomputed from the facts and compared with what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.operations import count_usage_facts, find_window_differences
from ledger.store.queries import Connection

MEASURES = ("requests", "uncached", "cache_read", "cache_write", "visible", "reasoning")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """How many facts were added up as known at a cut-off, and every window that differs."""

    cut_off: CutOff
    facts: int
    differences: Sequence[Mapping[str, Any]]


async def check_windows(connection: Connection) -> CheckReport:
    """Add up every fact and compare; writes nothing but the cut-off."""
    cut_off = await draw_cut_off(connection, "check")
    rows = await find_window_differences(connection, batch_seq=cut_off.batch_seq)
    facts = await count_usage_facts(connection, batch_seq=cut_off.batch_seq)
    return CheckReport(cut_off, facts, [_difference(dict(row)) for row in rows])


def _difference(row: Mapping[str, Any]) -> dict[str, Any]:
    """The window and, of each count that differs, (from facts, stored); None is no row at all."""
    named = ("window_start", "usage_key_id", "customer_ref", "model", "tier")
    counts = {
        name: {"facts": _whole(row[f"fact_{name}"]), "stored": _whole(row[f"stored_{name}"])}
        for name in MEASURES
        if row[f"fact_{name}"] != row[f"stored_{name}"]
    }
    return {name: row[name] for name in named} | {"counts": counts}


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
