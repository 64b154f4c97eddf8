"""The process beside a server that computes reports and issues invoices."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import uvicorn

from ledger.api.server import Server
from ledger.commands.serve.process_beside import END_S, serving_beside, when_gone
from ledger.settings import Settings
from ledger.stream.memory import collect_rarely

# Events go first: they are taken by other processes.
NICENESS = 5


@contextmanager
def report_process(settings: Settings, *, settles: bool = False) -> Iterator[Path]:
    """Keep one running until left; yields the socket it listens on.

    `settles` has it run the stages too, which take the interpreter as reports do.
    """
    serving = partial(_serve, settles=settles)
    with serving_beside("reports", serving, settings, niceness=NICENESS) as socket:
        yield socket


def _serve(settings: Settings, socket: Path, alive: Connection, *, settles: bool) -> None:
    from ledger.api.app import create_app
    from ledger.commands.serve.background import background

    with suppress(FileNotFoundError):
        socket.unlink()
    config = uvicorn.Config(
        create_app(settings),
        uds=str(socket),
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
    when_gone(alive, partial(setattr, server, "should_exit", True))
    with ExitStack() as stack:
        if settles and settings.worker_url is not None:
            stack.enter_context(
                background(
                    settings.worker_url,
                    settings.settle_seconds,
                    webhooks_inside=settings.webhooks_inside,
                )
            )
        server.run()
