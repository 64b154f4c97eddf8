"""Everything that follows from what is stored: each stage of the table, in its order."""

from collections.abc import Iterable
from datetime import datetime

from ledger.flows.stage import Stage, StageReport
from ledger.flows.stages import load_stages
from ledger.store.queries import Connection


async def settle(
    connection: Connection, *, entity_id: str | None = None, now: datetime
) -> list[StageReport]:
    """Run the stages for one entity, or all; each has transactions of its own."""
    return await run_stages(connection, load_stages(), entity_id=entity_id, now=now)


async def run_stages(
    connection: Connection, stages: Iterable[Stage], *, entity_id: str | None, now: datetime
) -> list[StageReport]:
    """Run each stage, also where one before it failed; then that failure is raised."""
    done: list[StageReport] = []
    failed: Exception | None = None
    for stage in stages:
        try:
            done.append(await stage(connection, entity_id=entity_id, now=now))
        except Exception as error:
            if connection.is_closed():
                raise
            failed = failed or error
    if failed is not None:
        raise failed
    return done
