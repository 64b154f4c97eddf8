"""What stages could not do and try again, and when each piece of work last succeeded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.domain.parked import Failed, Parked
from ledger.domain.period import Period
from ledger.store.queries import Connection, load_queries

STANDING = load_queries("standing")


@dataclass(frozen=True, slots=True)
class WorkState:
    """When background work last succeeded, for an entity or ('') for all, and failures since."""

    work: str
    entity_id: str
    succeeded_at: datetime | None
    failed_at: datetime | None
    failure: str | None
    failures: int


@dataclass(frozen=True, slots=True)
class WorkStanding:
    """When work last succeeded for the entity that waits longest, and failures since."""

    work: str
    succeeded_at: datetime | None
    failures: int


async def list_parked(
    connection: Connection,
    *,
    stage: str | None = None,
    entity_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Parked]:
    """What is parked, of one stage, entity and period [since, until), or of any."""
    rows = await STANDING["list_parked"].rows(
        connection, stage=stage, entity_id=entity_id, since=since, until=until
    )
    return [
        Parked(
            row["stage"],
            row["entity_id"],
            Failed(row["subject"], row["since"], row["until"], row["reason"]),
            row["failures"],
            row["first_failed_at"],
            row["next_try_at"],
        )
        for row in rows
    ]


async def count_parked(connection: Connection) -> dict[str, int]:
    """How much is parked, by stage; stages without anything parked are left out."""
    rows = await STANDING["count_parked"].rows(connection)
    return {row["stage"]: row["parked"] for row in rows}


async def change_parked(  # a place, and what goes and comes there
    connection: Connection,
    *,
    stage: str,
    entity_id: str,
    gone: Sequence[Failed],
    come: Sequence[Parked],
    now: datetime,
) -> None:
    """Take back what is done, and keep what failed."""
    owner = {"stage": stage, "entity_id": entity_id}
    if gone:
        await STANDING["delete_parked"].run(connection, **owner, **_parked_keys(gone))
    if come:
        await STANDING["insert_parked"].run(
            connection,
            **owner,
            **_parked_keys([parked.what for parked in come]),
            now=now,
            reasons=[parked.what.reason for parked in come],
            failures=[parked.failures for parked in come],
            first_failed_at=[parked.first_failed_at for parked in come],
            next_try_at=[parked.next_try_at for parked in come],
        )


async def end_parked(
    connection: Connection, *, stage: str, entity_id: str, periods: Sequence[tuple[str, Period]]
) -> None:
    """Take back all that is parked of these subjects in these periods."""
    await STANDING["end_parked"].run(
        connection,
        stage=stage,
        entity_id=entity_id,
        subjects=[subject for subject, _ in periods],
        since=[period.start for _, period in periods],
        until=[period.end for _, period in periods],
    )


async def hurry_parked(connection: Connection, *, entity_id: str | None) -> None:
    """Let the next run try everything again, whatever its pause."""
    await STANDING["hurry_parked"].run(connection, entity_id=entity_id)


async def note_success(
    connection: Connection, *, work: str, now: datetime, entity_id: str = ""
) -> None:
    """Keep that a piece of work succeeded."""
    await STANDING["note_success"].run(connection, work=work, entity_id=entity_id, now=now)


async def note_failure(
    connection: Connection, *, work: str, now: datetime, failure: str, entity_id: str = ""
) -> None:
    """Keep that a piece of work failed once more, and why."""
    await STANDING["note_failure"].run(
        connection, work=work, entity_id=entity_id, now=now, failure=failure
    )


async def list_work_states(connection: Connection) -> list[WorkState]:
    """Each piece of work, by entity."""
    return await STANDING["list_work_states"].values(connection, WorkState)


async def sum_work_states(connection: Connection) -> list[WorkStanding]:
    """Each piece of work, over all entities."""
    return await STANDING["sum_work_states"].values(connection, WorkStanding)


def _parked_keys(failed: Sequence[Failed]) -> dict[str, list[Any]]:
    return {
        "subjects": [part.subject for part in failed],
        "since": [part.since for part in failed],
        "until": [part.until for part in failed],
    }
