"""The background of a serving process: partitions made ahead, stages run again and again.

Beside the stages a watch of its own ends frozen sessions and measures: a stage may wait for one of
those sessions, and nobody would be left to end it.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import asyncpg

from ledger import clock, metrics
from ledger.domain.errors import LedgerError
from ledger.flows.change_tables import changing_tables
from ledger.flows.fold import fold_when_due
from ledger.flows.ingest import prepare_storage
from ledger.flows.replay import expire_quarantine
from ledger.flows.settle import settle
from ledger.flows.watch import end_frozen, measure
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.store.retention import close_days

log = logging.getLogger(__name__)
# How long a stage under way may take to end when the process is asked to.
END_SECONDS = 10
FOLD_EVERY_S = 3_600
WATCH_EVERY_S = 30
_PASSING = (LedgerError, asyncpg.PostgresError)
Round = Callable[[Connection], Awaitable[None]]
# A batch that came before midnight may still be on its way into its day.
CLOSE_AFTER = timedelta(hours=1)


@contextmanager
def background(worker_url: str, every_s: int) -> Iterator[None]:
    """Settle in a thread of its own every `every_s` seconds until left."""
    with _again_and_again("settle", worker_url, every_s, _settle):
        yield


@contextmanager
def watch(worker_url: str, *, frozen_s: int) -> Iterator[None]:
    """End sessions that are frozen for `frozen_s` seconds, and measure, until left."""

    async def look(connection: Connection) -> None:
        for ended in await end_frozen(connection, quiet_s=frozen_s):
            log.warning("%s", ended)
            metrics.ENDED_SESSIONS.inc()
        measured = await measure(connection)
        metrics.show_ledger(
            measured.sources, measured.gaps, measured.quarantined, measured.dead_letters
        )
        metrics.show_oldest_batch(measured.began_at, clock.now())

    with _again_and_again("watch", worker_url, min(WATCH_EVERY_S, frozen_s), look):
        yield


@contextmanager
def _again_and_again(name: str, worker_url: str, every_s: int, work: Round) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(
        target=_run, args=(name, worker_url, every_s, work, stop), name=name, daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(END_SECONDS)


def _run(name: str, worker_url: str, every_s: int, work: Round, stop: threading.Event) -> None:
    while True:
        try:
            asyncio.run(_round(worker_url, work))
        except (*_PASSING, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            # The next round does what this one could not: stages pick up where the books stand.
            if not stop.is_set():
                log.warning("%s: %s", name, error)
        if stop.wait(every_s):
            return


async def _round(worker_url: str, work: Round) -> None:
    connection = await connect(worker_url)
    try:
        await work(connection)
    finally:
        await connection.close()


async def _settle(connection: Connection) -> None:
    for work in (_make_room, _run_stages, _close_days, _fold):
        try:
            await work(connection)
        except _PASSING as error:
            # What one of them cannot do now is no reason for the others to wait.
            log.warning("settle: %s", error)


async def _make_room(connection: Connection) -> None:
    await prepare_storage(connection, now=clock.now())
    await expire_quarantine(connection, now=clock.now())


async def _run_stages(connection: Connection) -> None:
    for done in await settle(connection, now=clock.now()):
        if done.rows_written:
            log.info("%s: %d rows written", done.stage, done.rows_written)


async def _close_days(connection: Connection) -> None:
    over = (clock.now() - CLOSE_AFTER).date()
    await changing_tables(lambda: close_days(connection, today=over))


async def _fold(connection: Connection) -> None:
    folded = await fold_when_due(connection, now=clock.now(), every_s=FOLD_EVERY_S)
    if folded is not None and folded.rows_gone:
        log.info("fold: %d rows became %d", folded.rows_gone, folded.rows_come)
