"""Finds the windows an entity's costs must be computed for, since its last run."""

from datetime import datetime, timedelta

from ledger.domain.due import Span, windows_due
from ledger.store import cost, meter
from ledger.store.connect import CutOff
from ledger.store.queries import Connection


async def find_due(
    connection: Connection, *, stage: str, entity_id: str, cut_off: CutOff, now: datetime
) -> list[datetime]:
    """Starts of windows touched by facts, inputs or time since the stage's last run."""
    seq = cut_off.batch_seq
    since_seq = await cost.find_last_run(connection, stage=stage, entity_id=entity_id)
    held = await cost.find_hardware_periods(connection, entity_id=entity_id, batch_seq=seq)
    changed = await cost.find_changed_inputs(
        connection, entity_id=entity_id, since_seq=since_seq, batch_seq=seq
    )
    spans = [*changed, *await _touched_by_facts(connection, since_seq, seq)]
    latest = await cost.find_latest_window(connection, entity_id=entity_id)
    if latest is not None:
        spans.append((latest, None))
    # What ceased to be known still has rows to take back.
    return sorted(windows_due(spans, within=[*held, *changed], now=now))


async def _touched_by_facts(connection: Connection, since_seq: int, batch_seq: int) -> list[Span]:
    active = await cost.find_touched_activity(connection, since_seq=since_seq, batch_seq=batch_seq)
    read = await meter.find_touched_readings(connection, since_seq=since_seq, batch_seq=batch_seq)
    instant = timedelta(microseconds=1)
    return [
        *((window, window + instant) for window in active),
        *((first, last + instant) for _, first, last in read),
    ]
