"""A process beside a server, started again if it ends.

It goes when the server goes, however that ends: it reads a pipe whose other end the server holds.
"""

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

from ledger.settings import Settings
from ledger.wire.secrets import log_to_stderr

log = logging.getLogger(__name__)
END_S = 10
AGAIN_S = 1.0
# Works until the server is gone, which `alive` tells by its end.
Working: TypeAlias = Callable[[Settings, Connection], None]
# The same, and listens on a socket.
Serving: TypeAlias = Callable[[Settings, Path, Connection], None]


@contextmanager
def serving_beside(
    name: str, serving: Serving, settings: Settings, *, niceness: int
) -> Iterator[Path]:
    """Keep one running until left; yields the socket it listens on, in a folder of our own.

    `niceness` is how far it stands back behind the server.
    """
    with tempfile.TemporaryDirectory(prefix="tokenledger-") as folder:
        socket = Path(folder) / name
        working = partial(_serve_on, serving, socket)
        with process_beside(name, working, settings, niceness=niceness):
            yield socket


@contextmanager
def process_beside(
    name: str, working: Working, settings: Settings, *, niceness: int = 0
) -> Iterator[None]:
    """Keep one running until left."""
    stop = threading.Event()
    work = (name, niceness, working, settings)
    keeper = threading.Thread(target=_keep, args=(work, stop), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join(2 * END_S)


Work: TypeAlias = tuple[str, int, Working, Settings]


def _serve_on(serving: Serving, socket: Path, settings: Settings, alive: Connection) -> None:
    serving(settings, socket, alive)


def _keep(work: Work, stop: threading.Event) -> None:
    starting = multiprocessing.get_context("spawn")
    name = work[0]
    while not stop.is_set():
        theirs, ours = starting.Pipe(duplex=False)
        process = starting.Process(target=_begin, args=(work, theirs), name=name, daemon=True)
        process.start()
        theirs.close()
        while process.is_alive() and not stop.wait(0.2):
            pass
        ours.close()
        process.join(END_S)
        if process.is_alive():
            process.kill()
            process.join()
        if not stop.is_set():
            log.warning("The process of %s ended with %s; another starts.", name, process.exitcode)
            stop.wait(AGAIN_S)


def _begin(work: Work, alive: Connection) -> None:
    _, niceness, working, settings = work
    settings.keep_secrets()
    log_to_stderr(settings.log_level)
    os.nice(niceness)
    # Whoever ends all processes of a server asks this one too: it ends after whom it works for.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    working(settings, alive)


def when_gone(alive: Connection, end: Callable[[], object]) -> None:
    """Call `end`, from a thread, when the server is gone; who has not ended in time is ended."""

    def watch() -> None:
        with suppress(EOFError, OSError):
            alive.recv()
        end()
        time.sleep(END_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
