"""The background of a serving process: partitions made ahead, stages run again and again."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from ledger import clock
from ledger.domain.errors import LedgerError
from ledger.flows.settle import settle
from ledger.store.connect import connect
from ledger.store.operations import ensure_partitions

log = logging.getLogger(__name__)
DAYS_AHEAD = 7
# How long a stage under way may take to end when the process is asked to.
END_SECONDS = 10


@contextmanager
def background(worker_url: str, every_s: int) -> Iterator[None]:
    """Settle in a thread of its own every `every_s` seconds until left."""
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(worker_url, every_s, stop), daemon=True)
    asyncio.run(prepare_days(worker_url))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(END_SECONDS)


async def prepare_days(worker_url: str) -> None:
    """Make the partitions of today and the days after."""
    connection = await connect(worker_url)
    try:
        await ensure_partitions(connection, clock.now().date(), days=DAYS_AHEAD)
    finally:
        await connection.close()


def _run(worker_url: str, every_s: int, stop: threading.Event) -> None:
    while not stop.wait(every_s):
        try:
            asyncio.run(_round(worker_url))
        except (LedgerError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            # The next round does what this one could not: stages pick up where the books stand.
            if not stop.is_set():
                log.warning("settle: %s", error)


async def _round(worker_url: str) -> None:
    await prepare_days(worker_url)
    connection = await connect(worker_url)
    try:
        for done in await settle(connection, now=clock.now()):
            if done.rows_written:
                log.info("%s: %d rows written", done.stage, done.rows_written)
    finally:
        await connection.close()
