"""Backfills: rows of a request log become usage events, batch by batch, each row with its outcome.

The line number is the event's id: running again counts nothing twice and goes on where it stopped.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from itertools import islice
from typing import Any

from ledger.domain.metering.identities import EventId
from ledger.domain.metering.record import ItemOutcome, Record
from ledger.flows.metering.backfill_rows import (
    RowShape,
    correction_event,
    encode_line,
    unread_time,
    usage_event,
)
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import ingest
from ledger.flows.metering.limits import IngestLimits
from ledger.store.metering.backfill import StandingCorrection, find_standing_corrections
from ledger.store.metering.event_keys import find_event_keys
from ledger.store.queries import Connection

BATCH_ROWS = 20_000
# The rows are ours to cut, so a body of them is never too large.
BODY_BYTES_MAX = 2**30
LIMITS = IngestLimits(body_bytes_max=BODY_BYTES_MAX)
SAMPLES_MAX = 10
CREATED, DUPLICATE, CONFLICT, CORRECTED = "created", "duplicate", "conflict", "corrected"
OUTCOMES = (CREATED, CORRECTED, "suspense", DUPLICATE, "superseded", CONFLICT, "rejected")
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """`correct` sends what changed as corrections; `dry_run` writes nothing."""

    actor: str
    limits: IngestLimits = LIMITS
    correct: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class BackfillReport:
    """How many rows met each outcome, and the first of those that need a look: (line, what);
    whether times were read as UTC though nobody said so."""

    source: str
    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    taken_as_utc: bool = False

    def note(self, outcome: str, line: str, detail: str) -> None:
        """Count a row, and keep the first few of each outcome that is not plain."""
        self.outcomes[outcome] += 1
        kept = self.samples.setdefault(outcome, [])
        if detail and len(kept) < SAMPLES_MAX:
            kept.append((line, detail))


async def backfill(
    connection: Connection,
    rows: Iterable[tuple[int, Sequence[Any]]],
    shape: RowShape,
    *,
    options: Options,
    now: datetime,
    advance: Callable[[int], None],
) -> BackfillReport:
    """Load (line, cells) rows as `shape` reads them; each batch is a transaction of its own."""
    report = BackfillReport(shape.source)
    directory = DirectoryCache()
    async with _discarding(connection, options.dry_run):
        for chunk in _chunks(rows):
            events = [usage_event(line, cells, shape) for line, cells in chunk]
            said = (unread_time(event, shape) for event in events)
            unread = {index: why for index, why in enumerate(said) if why is not None}
            outcomes = await _send(
                connection, events, options, directory=directory, now=now, unread=unread
            )
            await _settle_changed(
                connection, events, outcomes, options, directory=directory, now=now
            )
            for event, outcome in zip(events, outcomes, strict=True):
                report.note(outcome.outcome, event["id"], _detail(outcome))
            report.rows += len(events)
            advance(len(events))
    return report


async def _send(
    connection: Connection,
    events: Sequence[Event],
    options: Options,
    *,
    directory: DirectoryCache,
    now: datetime,
    unread: Mapping[int, str] | None = None,
) -> list[ItemOutcome]:
    record = Record(
        b"".join(encode_line(event) for event in events),
        transport="file",
        position=f"{events[0]['source']} lines {events[0]['id']} to {events[-1]['id']}",
        actor=options.actor,
        unread=unread or {},
    )
    done = await ingest(connection, [record], directory=directory, now=now, limits=options.limits)
    return list(done[0].items())


async def _settle_changed(
    connection: Connection,
    events: Sequence[Event],
    outcomes: list[ItemOutcome],
    options: Options,
    *,
    directory: DirectoryCache,
    now: datetime,
) -> None:
    """Rows recorded otherwise: what a correction already says is a duplicate; send the rest."""
    looked_at = (CONFLICT, DUPLICATE) if options.correct else (CONFLICT,)
    known = [index for index, done in enumerate(outcomes) if done.outcome in looked_at]
    standing = await find_standing_corrections(
        connection,
        source=events[0]["source"],
        targets=[events[index]["id"] for index in known],
    )
    said = await _find_said(connection, [events[index] for index in known], standing)
    changed: list[int] = []
    for index in known:
        name = events[index]["id"]
        if name in said:
            outcomes[index] = ItemOutcome(index, DUPLICATE)
        elif options.correct and (name in standing or outcomes[index].outcome == CONFLICT):
            changed.append(index)
    if not changed:
        return
    corrections = [_correction(events[index], standing, more=1) for index in changed]
    done = await _send(connection, corrections, options, directory=directory, now=now)
    for index, outcome in zip(changed, done, strict=True):
        plain = outcome.outcome == CREATED
        outcomes[index] = replace(outcome, outcome=CORRECTED) if plain else outcome


def _chunks(
    rows: Iterable[tuple[int, Sequence[Any]]],
) -> Iterator[list[tuple[int, Sequence[Any]]]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, BATCH_ROWS)):
        yield chunk


Standing = Mapping[str, StandingCorrection]


async def _find_said(
    connection: Connection, events: Sequence[Event], standing: Standing
) -> set[str]:
    """Which of these events the correction of theirs that stands says already."""
    corrected = [event for event in events if event["id"] in standing]
    names = {
        EventId(standing[event["id"]].source_id, _correction(event, standing)["id"]): event["id"]
        for event in corrected
    }
    stored = await find_event_keys(connection, list(names)) if names else {}
    said = {names[name]: (at.batch_seq, at.ordinal) for name, at in stored.items()}
    return {
        name
        for name, at in said.items()
        if at == (standing[name].batch_seq, standing[name].ordinal)
    }


def _correction(event: Event, standing: Standing, *, more: int = 0) -> Event:
    """What says this event as the revision that stands, or `more` above it."""
    at = standing.get(event["id"])
    mark = blake2b(encode_line(event), digest_size=6).hexdigest()
    return correction_event(event, revision=(at.revision if at else 0) + more, mark=mark)


def _detail(outcome: ItemOutcome) -> str:
    if outcome.outcome == CONFLICT:
        return outcome.detail or "recorded with other content"
    return f"{outcome.reason}: {outcome.detail}" if outcome.reason else outcome.detail


class _DiscardedError(Exception):
    """Ends a dry run's transaction."""


@asynccontextmanager
async def _discarding(connection: Connection, dry_run: bool) -> AsyncIterator[None]:
    if not dry_run:
        yield
        return
    with suppress(_DiscardedError):
        async with connection.transaction():
            yield
            raise _DiscardedError
