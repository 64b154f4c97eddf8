"""How the application is served: one place for every limit of the server in front of it."""

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from ledger.api.protocol import Connections, protocol_of
from ledger.settings import Settings

# Files and connections of our own: the database, the log, what is imported.
FILES_OF_OURS = 128
# Requests under way when it is asked to end have so long.
END_S = 10


class Server(uvicorn.Server):
    """Ends when it is told to, and leaves the process to whoever started it.

    uvicorn's own way sends the signal again when it is done: nothing after it would be ended.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask it to end while it serves, where they are not ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def server_config(app: Any, settings: Settings, **given: Any) -> uvicorn.Config:
    """What uvicorn is told; `given` says where to listen and how to log."""
    most = min(settings.connections_max, _files() - FILES_OF_OURS)
    connections = Connections(most, min(settings.connections_of_address_max, most))
    return uvicorn.Config(
        app,
        http=protocol_of(connections),
        ws="none",
        log_level=settings.log_level.lower(),
        server_header=False,
        timeout_graceful_shutdown=END_S,
        **given,
    )


def _files() -> int:
    """As many as the process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
