"""Shows what a change would move in the books, before anybody enters it.

The change is entered, and all that follows from it is allocated, rated and booked by the stages
themselves, in one transaction that is rolled back. What is due without it is done first, there as
well, so that the difference is the change's alone.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from ledger.domain.author import Author
from ledger.domain.books.moved import MovedAccount, MovedCharge, MovedCost
from ledger.domain.errors import ReasonNeededError, UnavailableError
from ledger.flows.parts import Progress, no_progress
from ledger.flows.stage import NO_TRIAL, StageTrial, try_stage
from ledger.flows.stages import RECALL, STAGES
from ledger.store.books.preview import (
    Behind,
    forget_hints,
    list_moved_accounts,
    list_moved_charges,
    list_moved_costs,
    previewing,
)
from ledger.store.connect import another, draw_batch_seq, reached_of, sum_windows
from ledger.store.queries import Connection
from ledger.store.stage_runs import running

# All that books, in the order of the stages.
BOOKING = ("allocate", "rate", "draw", "book_cost", "book_revenue", "accrue")
# For a stage that runs, and for a row that somebody is changing.
WAIT_S = 60
# Where somebody enters the same between its snapshot and its change, it begins again.
TRIES = 3
Change = Callable[[Connection, Author], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would move on accounts, of charges and of cost; why it will need a reason, if
    it does, and what of it could not be worked out."""

    accounts: Sequence[MovedAccount]
    charges: Sequence[MovedCharge]
    costs: Sequence[MovedCost]
    needs_reason: str | None
    undone: Sequence[str]


async def preview_change(
    connection: Connection,
    change: Change,
    author: Author,
    *,
    now: datetime,
    entity_id: str | None = None,
    told: Progress = no_progress,
    wait_s: float = WAIT_S,
) -> Preview:
    """What a change would move in the books of an entity, or of all; it is refused as it would be.

    It keeps the stages waiting as long as they would take for it. UnavailableError where it has
    waited so long itself for one that runs, or for who enters the same.
    """
    await sum_windows(connection)
    reached = reached_of(connection)
    waiting = {"lock_timeout": f"{round(wait_s * 1_000)}ms"}
    patient = replace(reached, settings={**reached.settings, **waiting})
    for left in reversed(range(TRIES)):
        try:
            # What a session of its own holds goes with it.
            async with another(patient) as session:
                return await _preview(session, change, author, entity_id, now, told)
        except asyncpg.SerializationError as error:
            if not left:
                raise UnavailableError(
                    "Others enter what the preview is of all the while.", "Ask for it again."
                ) from error
    raise AssertionError("the last try returns or raises")


async def _preview(
    session: Connection,
    change: Change,
    author: Author,
    entity_id: str | None,
    now: datetime,
    told: Progress,
) -> Preview:
    # Whatever is refused is refused before anybody waits.
    needs_reason = await _enter_once(session, change, author)
    async with _stages_to_itself(session), previewing(session):
        before = await _run(session, {}, entity_id, now, told)
        since_seq = await draw_batch_seq(session)
        await change(session, replace(author, stated=True))
        after = await _run(session, before, entity_id, now, told)
        behind = Behind(entity_id=entity_id, since_seq=since_seq)
        return Preview(
            await list_moved_accounts(session, **behind),
            await list_moved_charges(session, **behind),
            await list_moved_costs(session, **behind),
            needs_reason,
            [line for name, trial in after.items() for line in _undone(name, trial)],
        )


async def _enter_once(connection: Connection, change: Change, author: Author) -> str | None:
    """Why the change needs a reason that nobody gave, or None."""
    async with previewing(connection):
        try:
            await change(connection, author)
        except ReasonNeededError as error:
            return error.wrong
    return None


@asynccontextmanager
async def _stages_to_itself(connection: Connection) -> AsyncIterator[None]:
    """Nothing else runs them meanwhile, and what is booked before is seen."""
    async with AsyncExitStack() as held:
        for name in (*BOOKING, RECALL):
            try:
                await held.enter_async_context(running(connection, name))
            except asyncpg.LockNotAvailableError as error:
                raise UnavailableError(
                    f"The stage {name} runs all the while, and a preview waits for its end.",
                    "Ask for it again.",
                ) from error
        yield


async def _run(
    connection: Connection,
    before: Mapping[str, StageTrial],
    entity_id: str | None,
    now: datetime,
    told: Progress,
) -> dict[str, StageTrial]:
    trials: dict[str, StageTrial] = {}
    for name in BOOKING:
        trials[name] = await try_stage(
            connection,
            STAGES[name].load(),
            before.get(name, NO_TRIAL),
            entity_id=entity_id,
            now=now,
            told=told,
        )
        await forget_hints(connection)
    return trials


def _undone(stage: str, trial: StageTrial) -> list[str]:
    return [
        f"{stage} of {name}{f' from {what.since:%FT%RZ}' if what.since else ''}: {what.reason}"
        for name, failed in trial.failed.items()
        for what in failed
    ]
