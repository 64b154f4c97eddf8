"""Starts a Kafka partition where PostgreSQL says it stands, and names what the broker has lost."""

from ledger.store.connect import draw_batch_seq
from ledger.store.metering.positions import (
    Partition,
    PositionMove,
    find_positions,
    insert_gap,
    insert_position,
    move_position,
)
from ledger.store.queries import Connection


async def start_partition(
    connection: Connection, at: Partition, *, log_start: int
) -> tuple[int, int]:
    """The offset to read from, and how many before it are lost: those are kept as a gap.

    A partition never seen before stands at 0, so that what was gone before we came is named too.
    """
    async with connection.transaction():
        await insert_position(connection, at, 0)
        stands = await find_positions(
            connection,
            cluster_id=at.cluster_id,
            topic_id=at.topic_id,
            partitions=[at.partition],
        )
        position = stands[at.partition]
        if position >= log_start:
            return position, 0
        batch_seq = await draw_batch_seq(connection)
        await insert_gap(connection, at, from_offset=position, to_offset=log_start)
        moved = await move_position(
            connection, PositionMove(at, position, log_start), batch_seq=batch_seq
        )
    # Another worker was here in between: what it set is read at the next start.
    return (log_start, log_start - position) if moved else (position, 0)
