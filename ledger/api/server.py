"""How the application is served: one place for every limit of the server in front of it."""

import resource
from typing import Any

import uvicorn

from ledger.api.protocol import Connections, protocol_of
from ledger.settings import Settings

# Files and connections of our own: the database, the log, what is imported.
FILES_OF_OURS = 128
# Requests under way when it is asked to end have so long.
END_S = 10


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
