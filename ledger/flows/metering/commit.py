"""The order in which a batch is committed, whatever it holds: claims, rows, then its partitions.

Invariant: rows and positions are one transaction; a position moves only from where it was read.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import asyncpg

from ledger.domain.errors import LedgerError, UnavailableError
from ledger.flows.metering.commit_order import ALONE, CommitOrder, IdLostError
from ledger.store.metering.positions import PositionMove, move_position
from ledger.store.queries import Connection
from ledger.store.refusals import lacks_partition

RETRIES = 5
# What a batch that begins again may not meet again; LockNotAvailableError: it waited too long.
_AGAIN = (
    IdLostError,
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)
Written_co = TypeVar("Written_co", covariant=True)
Written = TypeVar("Written")


class PositionLostError(LedgerError):
    """Another worker moved the partition on: this one's batch was rolled back and is not lost."""

    title = "Position lost"


class Attempt(Protocol[Written_co]):
    """One try to store a batch, inside its transaction."""

    async def take_ids(self, connection: Connection) -> int:
        """Look up what is known of it and take the rest; the number it is stored under."""

    async def write(self, connection: Connection, batch_seq: int) -> Written_co:
        """Its rows under that number; what became of it."""

    async def finish(self, connection: Connection) -> None:
        """What locks rows that others wait for, behind all batches that came before it."""


class Offer(Protocol[Written_co]):
    """A batch that is ready to be stored."""

    async def attempt(self, connection: Connection) -> Attempt[Written_co]:
        """The next try, before its transaction; the first may have been made ready."""

    def look_up_all(self) -> None:
        """Another writer was there first: the next try looks everything up."""

    async def make_partitions(self, connection: Connection) -> None:
        """Make the daily partitions that its rows lack."""


async def commit(
    connection: Connection,
    offer: Offer[Written],
    *,
    moves: Sequence[PositionMove] = (),
    order: CommitOrder = ALONE,
) -> Written:
    """Store the batch and move its partitions; a second try looks at everything again.

    PositionLostError where a partition of `moves` does not stand where expected; UnavailableError
    where other writers kept taking the same ids.
    """
    for _ in range(RETRIES):
        try:
            attempt = await offer.attempt(connection)
            return await _store(connection, attempt, moves=moves, order=order)
        except asyncpg.CheckViolationError as error:
            # Whoever makes the days ahead is ill: the batch makes its own, and comes again.
            if not lacks_partition(error):
                raise
            await offer.make_partitions(connection)
            order.start_again()
        except _AGAIN:
            offer.look_up_all()
            order.start_again()
    raise UnavailableError(
        "Other writers are storing the same events, or something holds up all writers.",
        "Send the batch again.",
    )


async def rehearse(
    connection: Connection, offer: Offer[Written], *, moves: Sequence[PositionMove]
) -> Written:
    """What would become of the batch now, by doing all of `commit` once and keeping nothing.

    It raises what stopped it.
    """
    attempt = await offer.attempt(connection)
    transaction = connection.transaction()
    await transaction.start()
    try:
        batch_seq = await attempt.take_ids(connection)
        written = await attempt.write(connection, batch_seq)
        await attempt.finish(connection)
        await _move(connection, moves, batch_seq)
        return written
    finally:
        await transaction.rollback()


async def _store(
    connection: Connection,
    attempt: Attempt[Written],
    *,
    moves: Sequence[PositionMove],
    order: CommitOrder,
) -> Written:
    async with connection.transaction():
        async with order.taking_ids():
            batch_seq = await attempt.take_ids(connection)
        written = await attempt.write(connection, batch_seq)
        await order.moving()
        await attempt.finish(connection)
        await _move(connection, moves, batch_seq)
    return written


async def _move(connection: Connection, moves: Sequence[PositionMove], batch_seq: int) -> None:
    for move in sorted(moves, key=lambda m: (m.partition.topic_id, m.partition.partition)):
        if not await move_position(connection, move, batch_seq=batch_seq):
            at = move.partition
            raise PositionLostError(
                f"Partition {at.partition} of {at.topic} does not stand at {move.expected}.",
                "Read its position again and go on from there.",
            )
