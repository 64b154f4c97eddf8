"""Keeps the embedded PostgreSQL running: killed, or ended by a full disk, it is started again."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ledger.domain.parked import reason_of
from ledger.embedded.postgres import EmbeddedServer

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.5
LONGEST_PAUSE_S = 30.0


@contextmanager
def supervised(server: EmbeddedServer) -> Iterator[None]:
    """Look after the server in a thread until left; whoever uses it connects again by itself."""
    stop = threading.Event()
    thread = threading.Thread(target=_look, args=(server, stop), name="supervise", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        # A start under way ends first: what is started here has to be stopped by who stops it all.
        thread.join()


def _look(server: EmbeddedServer, stop: threading.Event) -> None:
    pause_s, failures = LOOK_EVERY_S, 0
    while not stop.wait(pause_s):
        try:
            if server.revive():
                log.warning("PostgreSQL was gone and runs again (after %d failed starts)", failures)
            pause_s, failures = LOOK_EVERY_S, 0
        except Exception as error:
            failures += 1
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            log.error("PostgreSQL is gone, start %d failed: %s", failures, reason_of(error))
