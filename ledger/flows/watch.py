"""What a running ledger looks after by itself: sessions that froze, and sums of what arrived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.store import operations, standing
from ledger.store.queries import Connection
from ledger.store.sums import UnsummedBatches, count_unsummed


@dataclass(frozen=True, slots=True)
class Measured:
    """What the ledger knows, whoever stored it; `began_at` is of the oldest open batch, `unsummed`
    what no window's sum holds yet."""

    sources: Sequence[operations.SourceState]
    gaps: Sequence[operations.SequenceGap]
    quarantined: int
    dead_letters: int
    began_at: datetime | None
    unsummed: UnsummedBatches
    work: Sequence[standing.WorkStanding]
    parked: Mapping[str, int]


async def end_frozen(connection: Connection, *, quiet_s: int) -> list[operations.EndedSession]:
    """End sessions that hold up every cut-off; whoever sent their batches sends them again."""
    return await operations.end_frozen_sessions(connection, quiet_s=quiet_s)


async def measure(connection: Connection) -> Measured:
    """Sum what arrived since the last time, and say how the ledger stands."""
    await operations.sum_receipts_to_cut_off(connection)
    opened = await operations.list_open_batches(connection)
    return Measured(
        await operations.list_source_states(connection),
        await operations.list_sequence_gaps(connection),
        await operations.count_quarantined(connection),
        await operations.count_dead_letters(connection),
        min((each.began_at for each in opened if each.began_at is not None), default=None),
        await count_unsummed(connection),
        await standing.sum_work_states(connection),
        await standing.count_parked(connection),
    )
