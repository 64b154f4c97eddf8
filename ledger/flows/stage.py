"""What a stage is, and how it is run: for every entity, over the parts of it that are due."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ledger.domain.entity import LegalEntity
from ledger.domain.parked import Failed, Parked, Part
from ledger.flows.parts import (
    Due,
    EntityRun,
    Progress,
    StageWork,
    by_count,
    no_progress,
    run_parts,
    try_parts,
)
from ledger.store import stage_runs
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.queries import Connection
from ledger.store.stage_runs import LastRun
from ledger.store.standing import list_parked


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


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage goes by for one entity: how far it came, and how far it is to come now."""

    connection: Connection
    entity: LegalEntity
    last: LastRun
    cut_off: CutOff
    now: datetime


class ListEntities(Protocol):
    """The entities that a stage has work for, all or one of them."""

    async def __call__(
        self, connection: Connection, /, *, entity_id: str | None
    ) -> Sequence[LegalEntity]: ...


@dataclass(frozen=True, slots=True)
class Stage:
    """A step from what is stored to rows that follow from it, of each entity by itself.

    `name` names its lock, its cut-offs and its command as well. A part is `step` long. `find` says
    which are due, given windows to try again, and what stores them; `split` cuts them into chunks
    of at most `chunk_parts`. A stage that `follows_clock` has work also where nothing new is
    stored, and may `note` what the clock says before its cut-off is drawn.
    """

    name: str
    step: timedelta
    chunk_parts: int
    list_entities: ListEntities
    find: Callable[[StageContext, Sequence[Part]], Awaitable[Due]]
    split: Callable[[Sequence[Part], int], Iterable[Sequence[Part]]] = by_count
    follows_clock: bool = False
    note: Callable[[Connection, datetime], Awaitable[None]] | None = None

    async def __call__(
        self,
        connection: Connection,
        *,
        entity_id: str | None = None,
        now: datetime,
        progress: Progress = no_progress,
    ) -> StageReport:
        """Bring what it writes up to what is stored now, for one entity or for all."""
        return await run_stage(connection, self, entity_id=entity_id, now=now, progress=progress)


async def run_stage(
    connection: Connection,
    stage: Stage,
    *,
    entity_id: str | None,
    now: datetime,
    progress: Progress = no_progress,
) -> StageReport:
    """Run a stage over the entities; a second run waits, so that cut-offs only move forward."""
    async with stage_runs.running(connection, stage.name):
        cut_off = await _draw_cut_off(connection, stage, now)
        runs = [
            await run_parts(
                connection,
                _work(connection, stage, entity, cut_off, now),
                cut_off=cut_off,
                now=now,
                progress=progress,
            )
            for entity in await stage.list_entities(connection, entity_id=entity_id)
        ]
    return _report(stage.name, cut_off, runs)


@dataclass(frozen=True, slots=True)
class StageTrial:
    """How far a trial of a stage came for entities, and what failed in it."""

    lasts: Mapping[str, LastRun]
    failed: Mapping[str, Sequence[Failed]]


NO_TRIAL = StageTrial({}, {})


async def try_stage(
    connection: Connection,
    stage: Stage,
    before: StageTrial = NO_TRIAL,
    *,
    entity_id: str | None,
    now: datetime,
    told: Progress = no_progress,
) -> StageTrial:
    """Run a stage inside a transaction that is rolled back: on from a trial before, or from its
    last run, with all that is parked of it tried again."""
    cut_off = await _draw_cut_off(connection, stage, now)
    lasts: dict[str, LastRun] = {}
    failed: dict[str, Sequence[Failed]] = {}
    for entity in await stage.list_entities(connection, entity_id=entity_id):
        name, last = entity.entity_id, before.lasts.get(entity.entity_id)
        known = await list_parked(connection, stage=stage.name, entity_id=name)
        left = before.failed[name] if last else [each.what for each in known]
        again = [part for what in left for part in what.parts()]
        work = _work(connection, stage, entity, cut_off, now, last)
        failed[name] = await try_parts(connection, work, again, now=now, told=told)
        if all(what.since is not None for what in failed[name]):
            lasts[name] = LastRun(cut_off.batch_seq, now)
    return StageTrial(lasts, failed)


async def _draw_cut_off(connection: Connection, stage: Stage, now: datetime) -> CutOff:
    if stage.note is not None:
        await stage.note(connection, now)
    return await draw_cut_off(connection, stage.name)


def _work(
    connection: Connection,
    stage: Stage,
    entity: LegalEntity,
    cut_off: CutOff,
    now: datetime,
    since: LastRun | None = None,
) -> StageWork:
    name = entity.entity_id

    async def find(again: Sequence[Part]) -> Due:
        last = since or await stage_runs.find_last_run(connection, stage=stage.name, entity_id=name)
        if last.batch_seq == cut_off.batch_seq and not (again or stage.follows_clock):
            return Due((), _store_nothing)
        return await stage.find(StageContext(connection, entity, last, cut_off, now), again)

    return StageWork(
        stage=stage.name,
        entity_id=name,
        step=stage.step,
        find=find,
        split=lambda parts: stage.split(parts, stage.chunk_parts),
        follows_clock=stage.follows_clock,
    )


async def _store_nothing(_: Sequence[Part]) -> int:
    return 0


def _report(stage: str, cut_off: CutOff, runs: Sequence[EntityRun]) -> StageReport:
    return StageReport(
        stage,
        cut_off,
        sum(run.windows for run in runs),
        sum(run.rows for run in runs),
        tuple(part for run in runs for part in run.parked),
        tuple(part for run in runs for part in run.failed),
    )
