"""Makes cost lines of usage again that were let go, for whoever asks for windows of their days.

They follow from facts and inputs as these were known, by the same steps, and are taken only where
they are what they were, digest by digest.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

from ledger.domain.cost.line_runs import LineRuns
from ledger.domain.cost.lines_again import (
    AllocatedLines,
    ScopeWindow,
    found_again,
    next_cut_off,
)
from ledger.domain.entity import LegalEntity
from ledger.domain.period import DAY, Period
from ledger.flows.cost.cost_windows import cost_windows, find_meters
from ledger.flows.stages import RECALL
from ledger.store import stage_runs
from ledger.store.connect import AS_IT_STANDS
from ledger.store.cost import cost
from ledger.store.cost.allocations import (
    find_allocated,
    find_parts_of_days,
    keep_recalled,
)
from ledger.store.cost.share_rows import digests_of
from ledger.store.queries import Connection


async def recall_parts(
    connection: Connection, *, entity_id: str, since: datetime, until: datetime, batch_seq: int
) -> None:
    """Have the lines that a sum over [since, until) reads at a cut-off: all but those of whole
    days that are added up there."""
    parts = await find_parts_of_days(
        connection, entity_id=entity_id, since=since, until=until, batch_seq=batch_seq
    )
    await recall_lines(connection, entity_id, parts, batch_seq)


async def recall_lines(
    connection: Connection,
    entity_id: str,
    periods: Sequence[Period],
    batch_seq: int = AS_IT_STANDS,
) -> None:
    """Have all lines of an entity's windows in some periods as they stand at a cut-off; in no
    transaction where any of them were let go."""
    if not await find_allocated(connection, entity_id, periods, batch_seq, gone=True):
        return
    entities = await cost.list_cost_entities(connection, entity_id=entity_id)
    # Nobody else makes the same ones meanwhile.
    async with stage_runs.running(connection, RECALL):
        gone = await find_allocated(connection, entity_id, periods, batch_seq, gone=True)
        for day in _by_day(gone):
            async with connection.transaction(isolation="repeatable_read"):
                async for again in make_again(connection, entities[0], day):
                    await keep_recalled(connection, entity_id, again.same, again.lines)


class LinesAgain(NamedTuple):
    """Lines that are what they were, and which they are."""

    same: Sequence[AllocatedLines]
    lines: LineRuns


async def make_again(
    connection: Connection, entity: LegalEntity, asked: Sequence[AllocatedLines]
) -> AsyncIterator[LinesAgain]:
    """Lines of usage as they were allocated; ConflictError where they are others now. In one
    snapshot."""
    left = list(asked)
    while left:
        seq = next_cut_off(left)
        windows = sorted({each.window_start for each in left})
        costs, _ = await cost_windows(
            connection, entity, windows, await find_meters(connection, seq)
        )
        lines = costs.lines()
        same = found_again(left, digests_of(lines), seq)
        yield LinesAgain(same, lines)
        done: set[ScopeWindow] = {each.key for each in same}
        left = [each for each in left if each.key not in done]


def _by_day(lines: Sequence[AllocatedLines]) -> list[list[AllocatedLines]]:
    """Lines in order of their windows, a day and less of them at a time."""
    days: list[list[AllocatedLines]] = []
    for each in lines:
        if not days or each.window_start >= days[-1][0].window_start + DAY:
            days.append([])
        days[-1].append(each)
    return days
