"""Runs of stages: one at a time of each, and how far each has come."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from ledger.store.connect import Reached, another
from ledger.store.queries import Connection, OwnConnection, load_queries

RUNS = load_queries("stage_runs")


@asynccontextmanager
async def running(connection: Connection, stage: str) -> AsyncIterator[None]:
    """Wait until no other session runs this stage, and keep others out until left."""
    await RUNS["lock_stage"].value(connection, stage=stage)
    try:
        yield
    finally:
        # Of a connection that is gone the lock is gone as well.
        if not connection.is_closed():
            await RUNS["unlock_stage"].value(connection, stage=stage)


@asynccontextmanager
async def beside_run(reached: Reached, stage: str) -> AsyncIterator[OwnConnection]:
    """Another session for a run of the stage: while it is open, no other run begins."""
    async with another(reached) as other:
        await RUNS["lock_beside"].value(other, stage=stage)
        yield other


@dataclass(frozen=True, slots=True)
class LastRun:
    """How far a stage has come: in the stored order (0 before any run), and along the clock."""

    batch_seq: int = 0
    followed_to: datetime | None = None


async def find_last_run(connection: Connection, *, stage: str, entity_id: str) -> LastRun:
    """How far a stage has come for an entity."""
    row = await RUNS["find_last_run"].row(connection, stage=stage, entity_id=entity_id)
    return LastRun(row["batch_seq"], row["followed_to"]) if row else LastRun()


async def add_stage_run(
    connection: Connection,
    *,
    stage: str,
    entity_id: str | None,
    cut_off_id: int,
    windows: int,
    rows: int,
    followed_to: datetime | None = None,
) -> None:
    """Keep how far a stage has come; without an entity it is of all of them."""
    await RUNS["add_stage_run"].run(
        connection,
        stage=stage,
        entity_id=entity_id,
        cut_off_id=cut_off_id,
        followed_to=followed_to,
        windows=windows,
        rows=rows,
    )
