"""Checks: every window recomputed from the facts and compared with what is stored.

All is read from one snapshot, facts in slices over every connection at once; nothing is written but
the cut-off. Memory grows with the windows, not with the facts.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from ledger.domain.metering.check.compare import Comparison, Difference, compare
from ledger.domain.metering.check.windows import FACT_COLUMNS, FactPart, Windows, add_up, merge
from ledger.domain.metering.key import EngineKeyRow
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.metering import check as store
from ledger.store.metering.chunks import DamagedChunkError
from ledger.store.metering.facts import (
    USUAL_SIZES,
    Decode,
    FactReader,
    FactSearch,
    PartSizes,
    count_facts,
    decode_all,
    list_fact_readers,
)
from ledger.store.queries import Connection
from ledger.store.sums import PendingSum, find_damaged_sums

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class CheckSizes:
    """How much of a day is read at once, after how many windows parts are merged, and how many
    differences are named."""

    parts: PartSizes = USUAL_SIZES
    merge_rows: int = 500_000
    named: int = 20


DEFAULT_SIZES = CheckSizes()
MISPLACED = "misplaced"
PENDING = "pending_sum"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """How many facts and windows were compared as known at a cut-off, and what differs.

    `windows` has the number of each table, `differing` that of all differences, `differences` the
    first of them with their names.
    """

    cut_off: CutOff
    facts: int
    windows: Mapping[str, int]
    differing: int
    differences: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the ledger says, and which of its rows name another customer than their key does."""

    windows: Windows
    misplaced: Comparison


@dataclass(slots=True)
class _Sums:
    """What one connection has added up of the parts that all of them take from."""

    parts: deque[FactReader]
    sizes: CheckSizes
    facts: int = 0
    waiting: list[Decode] = field(default_factory=list)
    windows: list[Windows] = field(default_factory=list)
    damaged: list[DamagedChunkError] = field(default_factory=list)

    async def take_all(self, connection: Connection, progress: Progress) -> None:
        """Fetch parts, and add up many small ones at once: each would take the time of a large
        one, and a turn of every thread besides."""
        rows = 0
        while self.parts:
            part = self.parts.popleft()
            self.waiting.append(await part(connection))
            rows += part.rows
            if rows >= self.sizes.parts.rows:
                progress(await asyncio.to_thread(self._add))
                rows = 0
        if self.waiting:
            progress(await asyncio.to_thread(self._add))

    def _add(self) -> int:
        decodes, self.waiting = self.waiting, []
        frames, damaged = decode_all(decodes)
        self.damaged += damaged
        if not frames:
            return 0
        part = FactPart.of_rows(pl.concat(frames))
        self.facts += part.facts
        self.windows.append(add_up(part))
        if sum(window.rows for window in self.windows[1:]) > self.sizes.merge_rows:
            self.windows = [merge(self.windows)]
        return part.facts


def no_progress(facts: int, /) -> None:
    """Tell nobody."""


async def check_windows(
    connections: Sequence[Connection],
    *,
    progress: Progress = no_progress,
    sizes: CheckSizes = DEFAULT_SIZES,
) -> CheckReport:
    """Add up every fact and compare; nothing else may use the connections meanwhile."""
    lead = connections[0]
    cut_off = await draw_cut_off(lead, "check")
    pending = [_damaged_sum(each) for each in await find_damaged_sums(lead)]
    async with store.one_snapshot(connections):
        stored, sums = await _read_all(connections, cut_off.batch_seq, progress, sizes)
        facts = [part for each in sums for part in each.windows]
        damaged = pending + [_damaged(error) for each in sums for error in each.damaged]
        compared = await asyncio.to_thread(_compare, facts, stored, sizes.named)
        first = [difference for table in compared.values() for difference in table.first]
        named = await _with_names(lead, first[: sizes.named])
    return CheckReport(
        cut_off=cut_off,
        facts=sum(each.facts for each in sums),
        windows={table: each.compared for table, each in compared.items() if table != MISPLACED},
        differing=len(damaged) + sum(each.differing for each in compared.values()),
        differences=[*damaged[: sizes.named], *named],
    )


async def expected_facts(connection: Connection) -> int:
    """About how many facts there are: from the catalogue, or where it is silent from receipts."""
    counted = await count_facts(connection)
    return await store.count_received(connection) if counted is None else counted


async def _read_all(
    connections: Sequence[Connection], batch_seq: int, progress: Progress, sizes: CheckSizes
) -> tuple[_Stored, list[_Sums]]:
    lead, *others = connections
    search = FactSearch(batch_seq, columns=FACT_COLUMNS)
    parts = deque(await list_fact_readers(lead, search, sizes.parts))
    sums = [_Sums(parts, sizes) for _ in connections]
    try:
        async with asyncio.TaskGroup() as group:
            for reader, connection in zip(sums[1:], others, strict=True):
                group.create_task(reader.take_all(connection, progress))
            stored = await _read_stored(lead, batch_seq, sizes.named)
            await sums[0].take_all(lead, progress)
    except ExceptionGroup as failed:
        # The first says what is wrong; the others were stopped by it.
        raise failed.exceptions[0] from failed
    return stored, sums


async def _read_stored(connection: Connection, batch_seq: int, most: int) -> _Stored:
    windows = Windows(
        await store.read_usage_sums(connection, batch_seq=batch_seq),
        await store.read_activity_sums(connection, batch_seq=batch_seq),
        await store.read_busy_seconds(connection, batch_seq=batch_seq),
        await store.read_mark_sums(connection, batch_seq=batch_seq),
    )
    misplaced_rows = await store.find_misplaced(connection, batch_seq=batch_seq, most=most)
    misplaced = [
        Difference(
            "usage_delta",
            row.window_start,
            {"usage_key_id": row.usage_key_id},
            {"customer_id": (row.customer_id, row.stored_customer_id)},
        )
        for row in misplaced_rows
    ]
    return _Stored(
        windows, Comparison(0, misplaced_rows[0].differing if misplaced_rows else 0, misplaced)
    )


def _damaged(error: DamagedChunkError) -> Mapping[str, Any]:
    return {
        "table": error.table,
        "window_start": None,
        "place": error.place,
        "counts": {"sha256": {"facts": error.actual, "stored": error.stored}},
    }


def _damaged_sum(pending: PendingSum) -> Mapping[str, Any]:
    return {
        "table": PENDING,
        "window_start": None,
        "place": f"batch {pending.batch_seq}",
        "counts": {"sha256": {"facts": pending.digest.hex(), "stored": pending.sha256.hex()}},
    }


def _compare(facts: Sequence[Windows], stored: _Stored, most: int) -> dict[str, Comparison]:
    return {MISPLACED: stored.misplaced} | compare(merge(facts), stored.windows, most=most)


async def _with_names(
    connection: Connection, differences: Sequence[Difference]
) -> list[Mapping[str, Any]]:
    usage = [
        difference.keys["usage_key_id"]
        for difference in differences
        if "usage_key_id" in difference.keys
    ]
    engines = [
        difference.keys["engine_key_id"]
        for difference in differences
        if "engine_key_id" in difference.keys
    ]
    usage_names = await store.find_usage_names(connection, usage)
    engine_names = await store.find_engine_names(connection, engines)
    return [
        {
            "table": difference.table,
            "window_start": difference.window_start,
            **difference.keys,
            **_names(engine_names.get(difference.keys.get("engine_key_id", 0))),
            **_names(usage_names.get(difference.keys.get("usage_key_id", 0))),
            "counts": {
                name: {"facts": facts, "stored": stored}
                for name, (facts, stored) in difference.counts.items()
            },
            **_seconds(difference),
        }
        for difference in differences
    ]


def _names(of: store.UsageNames | EngineKeyRow | None) -> dict[str, Any]:
    return {} if of is None else asdict(of)


def _seconds(difference: Difference) -> dict[str, Any]:
    if difference.seconds is None:
        return {}
    differing, first = difference.seconds
    return {"seconds": {"differing": differing, "first": first}}
