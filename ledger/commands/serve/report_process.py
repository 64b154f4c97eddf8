"""The process beside a server that computes reports and issues invoices, started again if it ends.

It goes when the server goes, however that ends: it reads a pipe whose other end the server holds.
"""

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import uvicorn

from ledger.api.server import Server
from ledger.settings import Settings
from ledger.stream.memory import collect_rarely
from ledger.wire.secrets import log_to_stderr

log = logging.getLogger(__name__)
# Events go first: they are taken by the other process.
NICENESS = 5
END_S = 10
AGAIN_S = 1.0


@contextmanager
def report_process(settings: Settings, *, settles: bool = False) -> Iterator[Path]:
    """Keep one running until left; yields the socket it listens on, in a folder of our own.

    `settles` has it run the stages too, which take the interpreter as reports do.
    """
    with tempfile.TemporaryDirectory(prefix="tokenledger-") as folder:
        socket = Path(folder) / "reports"
        stop = threading.Event()
        keeper = threading.Thread(target=_keep, args=(settings, settles, socket, stop), daemon=True)
        keeper.start()
        try:
            yield socket
        finally:
            stop.set()
            keeper.join(2 * END_S)


def _keep(settings: Settings, settles: bool, socket: Path, stop: threading.Event) -> None:
    starting = multiprocessing.get_context("spawn")
    while not stop.is_set():
        theirs, ours = starting.Pipe(duplex=False)
        process = starting.Process(
            target=_serve,
            args=(settings, settles, str(socket), theirs),
            name="reports",
            daemon=True,
        )
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
            log.warning("The process of reports ended with %s; another starts.", process.exitcode)
            stop.wait(AGAIN_S)


def _serve(settings: Settings, settles: bool, socket: str, alive: Connection) -> None:
    log_to_stderr(settings.log_level)
    os.nice(NICENESS)
    # Ctrl-C is sent to both; it ends with the server it belongs to.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from ledger.api.app import create_app
    from ledger.commands.serve.background import background

    with suppress(FileNotFoundError):
        os.unlink(socket)
    config = uvicorn.Config(
        create_app(settings),
        uds=socket,
        http="httptools",
        ws="none",
        log_config=None,
        # Whoever asks knows the server in front; this one is part of it.
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=END_S // 2,
    )
    server = Server(config)
    collect_rarely()
    threading.Thread(target=_end_with, args=(alive, server), daemon=True).start()
    with ExitStack() as stack:
        if settles and settings.worker_url is not None:
            stack.enter_context(background(settings.worker_url, settings.settle_seconds))
        server.run()


def _end_with(alive: Connection, server: Server) -> None:
    with suppress(EOFError, OSError):
        alive.recv()
    server.should_exit = True
