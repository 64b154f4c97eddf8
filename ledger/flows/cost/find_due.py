"""Finds the windows an entity's costs must be computed for, since its last run.

Facts say which windows they touched. Slow facts and the passing of time touch whole years, in most
of which nothing may have happened: of those only windows are due that can hold anything.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from ledger.domain.cost.due import Span, begun_since, cover, overlaps, windows_due
from ledger.domain.cost.unclaimed import COUNTED
from ledger.domain.period import MICROSECOND
from ledger.flows.cost.fill_unread import find_newly_settled
from ledger.flows.stage import StageContext
from ledger.store.cost import cost
from ledger.store.energy import meter
from ledger.store.queries import Connection

# A clock that runs ahead of ours may have stored a reading on the day before it was taken.
AHEAD = timedelta(days=1)
# Late work of more windows than this is allocated with all that ran beside it.
LATE_MOST = 1_000


@dataclass(frozen=True, slots=True)
class DueWindows:
    """Starts of windows to be allocated, in order. Of those in `touched` only the work of some
    engine keys changed, and nothing else."""

    windows: Sequence[datetime] = ()
    touched: Mapping[datetime, Set[int]] = field(default_factory=dict)


async def find_due(context: StageContext) -> DueWindows:
    """Windows touched by facts, inputs or time since the stage's last run."""
    connection, entity_id = context.connection, context.entity.entity_id
    last, seq, now = context.last, context.cut_off.batch_seq, context.now
    begun = begun_since(last.followed_to, now) if last.followed_to else []
    if last.batch_seq == seq and not begun:
        return DueWindows()
    held = await cost.find_hardware_periods(connection, entity_id=entity_id, batch_seq=seq)
    changed = await cost.find_changed_inputs(
        connection, entity_id=entity_id, since_seq=last.batch_seq, batch_seq=seq
    )
    # What ceased to be known still has rows to take back. Much hardware is of the same time.
    within = [*dict.fromkeys([*held, *changed])]
    active = await cost.find_touched_activity(connection, since_seq=last.batch_seq, batch_seq=seq)
    worked = [(window, window + MICROSECOND) for window in active]
    touched = await _touched_by_counters(connection, last.batch_seq, seq)
    if not cover(changed, held):
        # Otherwise all that was ever read is due, whenever it was stored: as at first.
        touched += await _touched_by_readings(connection, last.batch_seq, seq)
    due = windows_due(touched, within=within, now=now)
    wide = overlaps([*changed, *begun], within)
    if wide:
        read_since = None if changed or last.followed_to is None else last.followed_to
        due |= await _eventful(connection, entity_id, wide, seq, now=now, read_since=read_since)
    due |= await find_newly_settled(context)
    late = windows_due(worked, within=within, now=now) - due
    return DueWindows(sorted(due | late), await _touched_engines(context, late))


async def _touched_engines(
    context: StageContext, late: Set[datetime]
) -> Mapping[datetime, Set[int]]:
    if not 0 < len(late) <= LATE_MOST:
        return {}
    return await cost.find_touched_engines(
        context.connection,
        windows=late,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )


async def _touched_by_readings(
    connection: Connection, since_seq: int, batch_seq: int
) -> list[Span]:
    read = await meter.find_touched_readings(connection, since_seq=since_seq, batch_seq=batch_seq)
    return [(first, last + MICROSECOND) for _, first, last in read]


async def _touched_by_counters(
    connection: Connection, since_seq: int, batch_seq: int
) -> list[Span]:
    counted = await meter.find_touched_counters(
        connection, metrics=COUNTED, since_seq=since_seq, batch_seq=batch_seq
    )
    return [(window, window + MICROSECOND) for window in counted]


async def _eventful(
    connection: Connection,
    entity_id: str,
    spans: Sequence[Span],
    batch_seq: int,
    *,
    now: datetime,
    read_since: datetime | None,
) -> set[datetime]:
    """Windows of wide spans in which hardware costs something, a meter ran, or there are rows.

    Where time alone made them due, only readings matter that were taken since, or will have been.
    """
    costing = await cost.find_costing_periods(connection, entity_id=entity_id, batch_seq=batch_seq)
    day = date.min if read_since is None else (read_since.astimezone(UTC) - AHEAD).date()
    read = await meter.find_metered_periods(connection, stored_since=day, batch_seq=batch_seq)
    metered: list[Span] = [(first, last + MICROSECOND) for first, last in read.values()]
    due = windows_due(spans, within=[*costing, *metered], now=now)
    for since, until in spans:
        due.update(
            await cost.find_eventful_windows(
                connection,
                entity_id=entity_id,
                since=since,
                until=now if until is None else min(until, now),
                batch_seq=batch_seq,
            )
        )
    return due
