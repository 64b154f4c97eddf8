"""The background of a serving process: partitions made ahead, stages run again and again."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import asyncpg

from ledger import clock
from ledger.domain.errors import LedgerError
from ledger.flows.fold import fold_when_due
from ledger.flows.ingest import prepare_storage
from ledger.flows.replay import expire_quarantine
from ledger.flows.settle import settle
from ledger.store.connect import connect
from ledger.store.retention import close_days

log = logging.getLogger(__name__)
# How long a stage under way may take to end when the process is asked to.
END_SECONDS = 10
FOLD_EVERY_S = 3_600
# A batch that came before midnight may still be on its way into its day.
CLOSE_AFTER = timedelta(hours=1)


@contextmanager
def background(worker_url: str, every_s: int) -> Iterator[None]:
    """Settle in a thread of its own every `every_s` seconds until left."""
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(worker_url, every_s, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(END_SECONDS)


def _run(worker_url: str, every_s: int, stop: threading.Event) -> None:
    while True:
        try:
            asyncio.run(_round(worker_url))
        except (LedgerError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            # The next round does what this one could not: stages pick up where the books stand.
            if not stop.is_set():
                log.warning("settle: %s", error)
        if stop.wait(every_s):
            return


async def _round(worker_url: str) -> None:
    connection = await connect(worker_url)
    try:
        await prepare_storage(connection, now=clock.now())
        await expire_quarantine(connection, now=clock.now())
        for done in await settle(connection, now=clock.now()):
            if done.rows_written:
                log.info("%s: %d rows written", done.stage, done.rows_written)
        await close_days(connection, today=(clock.now() - CLOSE_AFTER).date())
        folded = await fold_when_due(connection, now=clock.now(), every_s=FOLD_EVERY_S)
        if folded is not None and folded.rows_gone:
            log.info("fold: %d rows became %d", folded.rows_gone, folded.rows_come)
    finally:
        await connection.close()
