"""What a run of a stage did, and what it could not do."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ledger.domain.parked import Parked
from ledger.store.connect import CutOff
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class EntityRun:
    """Parts of one entity that a stage looked at, rows it wrote, all that is parked and what of it
    failed just now."""

    windows: int
    rows: int
    parked: tuple[Parked, ...]
    failed: tuple[Parked, ...] = ()


@dataclass(frozen=True, slots=True)
class StageReport:
    """How many windows a stage looked at, as known at which cut-off, and how many rows it wrote;
    `parked` waits to be tried again, `failed` of it was tried in this run."""

    stage: str
    cut_off: CutOff
    windows: int
    rows_written: int
    parked: tuple[Parked, ...] = ()
    failed: tuple[Parked, ...] = ()


class Stage(Protocol):
    """A stage over one entity, or over all."""

    async def __call__(
        self, connection: Connection, /, *, entity_id: str | None = None, now: datetime
    ) -> StageReport:
        """Bring what the stage writes up to what is stored now."""


def stage_report(stage: str, cut_off: CutOff, runs: Iterable[EntityRun]) -> StageReport:
    """The runs of all entities in one."""
    done = list(runs)
    return StageReport(
        stage,
        cut_off,
        sum(run.windows for run in done),
        sum(run.rows for run in done),
        tuple(one for run in done for one in run.parked),
        tuple(one for run in done for one in run.failed),
    )
