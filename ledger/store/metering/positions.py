"""Where each Kafka partition stands: the only position there is."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.store.metering.ingest import INGEST
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of a topic, by the ids that a broker gives cluster and topic."""

    cluster_id: str
    topic_id: str
    partition: int
    topic: str


@dataclass(frozen=True, slots=True)
class PositionMove:
    """A step of a partition, valid only from `expected`."""

    partition: Partition
    expected: int
    next_offset: int


async def insert_position(connection: Connection, at: Partition, next_offset: int) -> None:
    """A partition's first position, unless it has one."""
    await INGEST["insert_position"].run(
        connection,
        cluster_id=at.cluster_id,
        topic_id=at.topic_id,
        partition=at.partition,
        topic=at.topic,
        next_offset=next_offset,
    )


async def find_positions(
    connection: Connection, *, cluster_id: str, topic_id: str, partitions: Sequence[int]
) -> dict[int, int]:
    """The next offset of each partition that has a position."""
    rows = await INGEST["find_positions"].rows(
        connection, cluster_id=cluster_id, topic_id=topic_id, partitions=list(partitions)
    )
    return {row["partition"]: row["next_offset"] for row in rows}


async def move_position(connection: Connection, move: PositionMove, *, batch_seq: int) -> bool:
    """Move a partition on; False where it does not stand where the caller believes."""
    at = move.partition
    moved = await INGEST["move_position"].run(
        connection,
        cluster_id=at.cluster_id,
        topic_id=at.topic_id,
        partition=at.partition,
        expected=move.expected,
        next_offset=move.next_offset,
        batch_seq=batch_seq,
    )
    return moved == 1


async def insert_gap(
    connection: Connection, at: Partition, *, from_offset: int, to_offset: int
) -> None:
    """Name offsets that the broker no longer has."""
    await INGEST["insert_gap"].run(
        connection,
        cluster_id=at.cluster_id,
        topic_id=at.topic_id,
        partition=at.partition,
        from_offset=from_offset,
        to_offset=to_offset,
    )
