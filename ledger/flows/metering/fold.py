"""Folds delta rows: what batches added to one window becomes one row between two kept cut-offs.

A sum at a kept cut-off never changes, because no row moves across one. Each step is a short
transaction that may be lost: a fold may be stopped anywhere, and another takes it up.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.errors import UnavailableError
from ledger.store import stage_runs
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.metering.retention import (
    FOLDS,
    Folded,
    find_last_fold,
    find_windows_to_fold,
    fold_rows,
    try_lock_fold,
)
from ledger.store.queries import Connection

STAGE = "fold"
WAIT_S = 0.05
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class FoldStep:
    """How much one transaction may take, and how often to try for a moment to run it in."""

    windows: int = 32
    rows: int = 50_000
    tries: int = 200


STEP = FoldStep()


@dataclass(frozen=True, slots=True)
class FoldReport:
    """Windows looked at up to a cut-off; rows that went, and the rows that stand for them."""

    cut_off: CutOff
    windows: int
    rows_gone: int
    rows_come: int


def no_progress(windows: int, /) -> None:
    """Tell nobody."""


async def fold(
    connection: Connection,
    *,
    every: bool = False,
    step: FoldStep = STEP,
    progress: Progress = no_progress,
) -> FoldReport:
    """Fold windows touched since the last fold, or `every` window; waits for a fold under way.

    UnavailableError where transactions with a cut-off of their own leave no moment for a step.
    """
    async with stage_runs.running(connection, STAGE):
        last = None if every else await find_last_fold(connection)
        cut_off = await draw_cut_off(connection, STAGE)
        windows = await find_windows_to_fold(
            connection, since_seq=last.batch_seq if last else -1, batch_seq=cut_off.batch_seq
        )
        folded = Folded()
        for at in range(0, len(windows), step.windows):
            chunk = windows[at : at + step.windows]
            folded += await _fold_windows(connection, chunk, cut_off, step)
            progress(len(chunk))
        await stage_runs.add_stage_run(
            connection,
            stage=STAGE,
            entity_id=None,
            cut_off_id=cut_off.cut_off_id,
            windows=len(windows),
            rows=folded.gone,
        )
    return FoldReport(cut_off, len(windows), folded.gone, folded.come)


async def _fold_windows(
    connection: Connection, windows: Sequence[datetime], cut_off: CutOff, step: FoldStep
) -> Folded:
    total = Folded()
    for name in FOLDS:
        while True:
            folded = await _run_step(connection, name, windows, cut_off, step)
            total += folded
            if folded.gone < step.rows:
                break
    return total


async def _run_step(
    connection: Connection, name: str, windows: Sequence[datetime], cut_off: CutOff, step: FoldStep
) -> Folded:
    for _ in range(step.tries):
        async with connection.transaction():
            if await try_lock_fold(connection):
                return await fold_rows(
                    connection, name, windows=windows, batch_seq=cut_off.batch_seq, most=step.rows
                )
        await asyncio.sleep(WAIT_S)
    raise UnavailableError(
        "A transaction that has drawn a cut-off stays open, and a fold must not cross it.",
        "Run `tokenledger fold` again later; what was folded so far stays folded.",
    )


async def fold_when_due(
    connection: Connection, *, now: datetime, every_s: int
) -> FoldReport | None:
    """`fold`, unless the last one ended less than `every_s` seconds before `now`."""
    last = await find_last_fold(connection)
    if last is not None and (now - last.finished_at).total_seconds() < every_s:
        return None
    return await fold(connection)
