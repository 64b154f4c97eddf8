"""Runs a stage over the parts of an entity, so that what cannot be done stops nothing else.

A part that fails is told from those beside it by halving, parked with its reason, and tried again
when its pause is over or when something touches it. What fails of itself for a while (a database
that is away, full or busy) is no part's fault: it ends the run, and the next one begins where it
was.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias, TypeVar

from ledger.domain.errors import UnavailableError
from ledger.domain.parked import Failed, Parked, Part, failed_parts, park, reason_of
from ledger.flows.side_by_side import side_by_side
from ledger.store import stage_runs, standing
from ledger.store.connect import CutOff, reached_of
from ledger.store.passing import passes_by_itself
from ledger.store.queries import Connection

# Halvings a run may spend on one entity: where more fails than that, whole chunks are parked.
HALVINGS_MAX = 128
# Told after each chunk how many parts are done, and how many there are.
Progress = Callable[[int, int], None]
P = TypeVar("P")
Store: TypeAlias = Callable[[Sequence[Part]], Awaitable[int]]
# From so many chunks on more connections are worth what they take to make.
CHUNKS_BESIDE = 4
# What two chunks wait for, a disk and each other's statements, is time for a third.
BESIDE = 2


def no_progress(done: int, of: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class EntityRun:
    """Parts of one entity that a stage looked at, rows it wrote, all that is parked and what of it
    failed just now."""

    windows: int
    rows: int
    parked: tuple[Parked, ...]
    failed: tuple[Parked, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """Parts that are due, in order; `store` stores a chunk of them in a transaction of its own and
    returns how many rows it wrote. The first `apart` follow from no other: where they are many,
    what `store_beside` makes of other connections stores some of their chunks meanwhile."""

    parts: Sequence[Part]
    store: Store
    apart: int = 0
    store_beside: Callable[[Connection], Store] | None = None


@dataclass(frozen=True, slots=True)
class StageWork:
    """What a stage does for one entity.

    `find` says what is due, given the parts to try again; `split` cuts it into chunks. A part is
    `step` long.
    """

    stage: str
    entity_id: str
    step: timedelta
    find: Callable[[Sequence[Part]], Awaitable[Due]]
    split: Callable[[Sequence[Part]], Iterable[Sequence[Part]]]
    follows_clock: bool = False


@dataclass(slots=True)
class _Run:
    work: StageWork
    now: datetime
    progress: Progress
    due: int = 0
    done: int = 0
    rows: int = 0
    halvings: int = 0
    failed: list[Failed] = field(default_factory=list)


async def run_parts(
    connection: Connection,
    work: StageWork,
    *,
    cut_off: CutOff,
    now: datetime,
    progress: Progress = no_progress,
) -> EntityRun:
    """Do what is due for the entity; what failed is parked in the end, with how far it came."""
    known = await standing.list_parked(connection, stage=work.stage, entity_id=work.entity_id)
    if any(parked.what.since is None and not parked.is_due(now) for parked in known):
        return EntityRun(0, 0, tuple(known))
    again = [part for parked in known if parked.is_due(now) for part in parked.what.parts()]
    run = _Run(work, now, progress)
    try:
        due = await work.find(again)
    except Exception as error:
        _raise_if_passing(error)
        run.failed.append(Failed("", None, None, reason_of(error)))
        return await _end(connection, run, known, due=(), cut_off=None)
    run.due = len(due.parts)
    await _store_apart(connection, run, due)
    for chunk in work.split(due.parts[due.apart :]):
        await _store(run, due.store, chunk)
    return await _end(connection, run, known, due=due.parts, cut_off=cut_off)


async def try_parts(
    connection: Connection, work: StageWork, again: Sequence[Part], *, now: datetime, told: Progress
) -> list[Failed]:
    """Do what is due for the entity, and parts to try again, inside a transaction; returns what of
    it failed, and keeps neither that nor how far it came."""
    run = _Run(work, now, told)

    async def store(chunk: Sequence[Part]) -> int:
        async with connection.transaction():
            return await due.store(chunk)

    try:
        async with connection.transaction():
            due = await work.find(again)
    except Exception as error:
        _raise_if_passing(error)
        return [Failed("", None, None, reason_of(error))]
    run.due = len(due.parts)
    for chunk in work.split(due.parts):
        await _store(run, store, chunk)
    return run.failed


async def _store_apart(connection: Connection, run: _Run, due: Due) -> None:
    """Store what follows from no other part, over several connections where it is much."""
    chunks = list(run.work.split(due.parts[: due.apart]))
    if due.store_beside is None or len(chunks) < CHUNKS_BESIDE:
        await side_by_side(chunks, [partial(_store, run, due.store)])
        return
    reached = reached_of(connection)
    async with AsyncExitStack() as open_runs:
        stores = [due.store]
        for _ in range(BESIDE):
            other = await open_runs.enter_async_context(
                stage_runs.beside_run(reached, run.work.stage)
            )
            stores.append(due.store_beside(other))
        await side_by_side(chunks, [partial(_store, run, store) for store in stores])


async def _store(run: _Run, store: Store, chunk: Sequence[Part]) -> None:
    await _attempt(run, store, chunk)
    run.done += len(chunk)
    run.progress(run.done, run.due)


async def _attempt(run: _Run, store: Store, chunk: Sequence[Part]) -> None:
    try:
        rows = await store(chunk)
    except Exception as error:
        _raise_if_passing(error)
        if len(chunk) > 1 and run.halvings < HALVINGS_MAX:
            run.halvings += 1
            await _attempt(run, store, chunk[: len(chunk) // 2])
            await _attempt(run, store, chunk[len(chunk) // 2 :])
            return
        reason = reason_of(error)
        run.failed += failed_parts(chunk, step=run.work.step, reason=reason)
    else:
        run.rows += rows


def _raise_if_passing(error: Exception) -> None:
    if passes_by_itself(error) or isinstance(error, UnavailableError):
        raise error


async def _end(
    connection: Connection,
    run: _Run,
    known: Sequence[Parked],
    *,
    due: Sequence[Part],
    cut_off: CutOff | None,
) -> EntityRun:
    """Keep what failed and how far the stage has come, all or nothing; no cut-off: nowhere."""
    work, now = run.work, run.now
    owner = {"stage": work.stage, "entity_id": work.entity_id}
    come = [park(each, known, **owner, now=now) for each in run.failed]
    tried = set(due) if known else set()
    gone = [each for each in known if cut_off is not None and _is_settled(each, tried, now)]
    anew = {each.what.identity for each in come}
    left = [each for each in known if each not in gone and each.what.identity not in anew]
    async with connection.transaction():
        await standing.change_parked(
            connection, **owner, gone=[each.what for each in gone], come=come, now=now
        )
        if cut_off is not None:
            await stage_runs.add_stage_run(
                connection,
                **owner,
                cut_off_id=cut_off.cut_off_id,
                followed_to=now if work.follows_clock else None,
                windows=len(due),
                rows=run.rows,
            )
        if not (come or left):
            await standing.note_success(
                connection, work=work.stage, entity_id=work.entity_id, now=now
            )
    return EntityRun(len(due), run.rows, (*left, *come), tuple(come))


def _is_settled(parked: Parked, tried: Set[Part], now: datetime) -> bool:
    """Whether all of it was tried in this run: what failed of it is parked anew."""
    return parked.is_due(now) or all(part in tried for part in parked.what.parts())


def by_count(parts: Sequence[P], most: int) -> Iterator[Sequence[P]]:
    """Chunks of at most `most` parts."""
    for first in range(0, len(parts), most):
        yield parts[first : first + most]
