"""What a running ledger looks after by itself: sessions that froze, and sums of what arrived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.store import operations, standing
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that held a batch number and did nothing since `quiet_since`."""

    batch_seq: int
    pid: int
    application: str
    quiet_since: datetime
    ended_at: datetime

    def __str__(self) -> str:
        quiet_s = (self.ended_at - self.quiet_since).total_seconds()
        return (
            f"session {self.pid} ({self.application or 'unnamed'}) held batch {self.batch_seq} and"
            f" did nothing for {quiet_s:.0f} s: it was ended, and its batch rolled back"
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What the ledger knows, whoever stored it; `began_at` is of the oldest open batch."""

    sources: Sequence[dict[str, Any]]
    gaps: Sequence[dict[str, Any]]
    quarantined: int
    dead_letters: int
    began_at: datetime | None
    work: Sequence[dict[str, Any]]
    parked: Mapping[str, int]


async def end_frozen(connection: Connection, *, quiet_s: int) -> list[EndedSession]:
    """End sessions that hold up every cut-off; whoever sent their batches sends them again."""
    rows = await operations.end_frozen_sessions(connection, quiet_s=quiet_s)
    return [EndedSession(**dict(row)) for row in rows]


async def measure(connection: Connection) -> Measured:
    """Sum what arrived since the last time, and say how the ledger stands."""
    await operations.sum_receipts_to_cut_off(connection)
    opened = await operations.list_open_batches(connection)
    return Measured(
        [dict(row) for row in await operations.list_source_states(connection)],
        [dict(row) for row in await operations.list_sequence_gaps(connection)],
        await operations.count_quarantined(connection),
        await operations.count_dead_letters(connection),
        min((row["began_at"] for row in opened if row["began_at"] is not None), default=None),
        [dict(row) for row in await standing.sum_work_states(connection)],
        await standing.count_parked(connection),
    )
