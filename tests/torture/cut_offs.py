"""Draws cut-offs all the while, and looks in the end whether anything slipped behind one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg

from ledger.store.connect import connect, draw_batch_seq, draw_cut_off
from ledger.store.queries import Connection

PAUSE_S = 0.2
# A purpose that is kept: a fold must not merge across it.
PURPOSE = "torture"
SUM = """
SELECT (SELECT count(*) FROM receipt WHERE batch_seq <= $1) AS records, sum(requests),
       sum(uncached), sum(cache_read), sum(visible), sum(reasoning)
  FROM usage_delta WHERE batch_seq <= $1
"""
RECEIPT = """
INSERT INTO receipt (batch_seq, ordinal_from, lane, transport, received_at, received)
VALUES ($1, 0, 0, 'internal', now(), 0)
"""
# The last is what a connection says that was told of its end and has not ended yet.
AWAY = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    asyncpg.InternalClientError,
)


@dataclass
class CutOffs:
    """What each cut-off saw when it was drawn: it must see the same for ever."""

    url: str
    seen: dict[int, tuple[object, ...]] = field(default_factory=dict)
    _watching: "asyncio.Task[None] | None" = None

    def begin(self, url: str, seen: Mapping[int, tuple[object, ...]]) -> None:
        """Watch these books, which have drawn the cut-offs `seen` before."""
        self.url, self.seen = url, dict(seen)
        self._watching = asyncio.create_task(self.watch())

    async def stop(self) -> None:
        """Watch no more."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    def mark(self) -> Mapping[int, tuple[object, ...]]:
        """What was drawn so far."""
        return dict(self.seen)

    async def watch(self) -> None:
        """Draw until cancelled; a database that is away is waited for."""
        while True:
            try:
                connection = await connect(self.url)
                try:
                    await self._draw(connection)
                finally:
                    await connection.close(timeout=1)
            except AWAY:
                await asyncio.sleep(PAUSE_S)

    async def _draw(self, connection: Connection) -> None:
        while True:
            cut_off = await draw_cut_off(connection, PURPOSE)
            self.seen.setdefault(cut_off.batch_seq, await _sums(connection, cut_off.batch_seq))
            await asyncio.sleep(PAUSE_S)

    async def slipped(self) -> list[str]:
        """Cut-offs that see something else by now."""
        connection = await connect(self.url)
        try:
            now = {seq: await _sums(connection, seq) for seq in self.seen}
        finally:
            await connection.close()
        return [
            f"cut-off {seq} saw {then} and now {now[seq]}"
            for seq, then in self.seen.items()
            if now[seq] != then
        ]


async def _sums(connection: Connection, batch_seq: int) -> tuple[object, ...]:
    (row,) = await connection.fetch(SUM, batch_seq)
    return tuple(row)


async def hold_open(
    url: str, seconds: float, others: Callable[[], Awaitable[bool]]
) -> tuple[list[str], bool]:
    """A batch that draws its number and stays open for so long, and until `others` answer: what,
    is returned. Cut-offs are drawn meanwhile, and none may pass it."""
    holder, drawer = await connect(url), await connect(url)
    wrong = []
    try:
        async with holder.transaction():
            number = await draw_batch_seq(holder)
            # What it stores must be in every cut-off that is not below it.
            await holder.execute(RECEIPT, number)
            open_until = asyncio.gather(asyncio.sleep(seconds), others())
            while not open_until.done():
                cut_off = await draw_cut_off(drawer, PURPOSE)
                if cut_off.batch_seq >= number:
                    wrong.append(f"cut-off {cut_off.batch_seq} passed the open batch {number}")
                await asyncio.sleep(PAUSE_S)
            _, went_on = await open_until
    finally:
        await holder.close()
        await drawer.close()
    return wrong, went_on
