"""`tokenledger up`: one host and one command, with an embedded database in a directory."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import uvloop

from ledger import clock
from ledger.api.app import create_app
from ledger.api.server import Server, server_config
from ledger.api.state import Beside
from ledger.commands.options import PORT
from ledger.commands.serve.background import watch
from ledger.commands.serve.database import DatabaseUrls, author_of
from ledger.commands.serve.intake_process import intake_process
from ledger.commands.serve.metrics_address import serve_metrics
from ledger.commands.serve.migrate import migrate_urls
from ledger.commands.serve.report_process import report_process
from ledger.commands.serve.supervise import supervised
from ledger.domain.errors import UnavailableError
from ledger.embedded.postgres import EmbeddedServer, embedded_server
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.reference.keys import create_api_key
from ledger.settings import Settings
from ledger.store.connect import connect
from ledger.store.keys import list_api_keys
from ledger.store.roles import API, OWNER, WORKER
from ledger.stream.memory import collect_rarely
from ledger.wire.inputs import NewApiKey
from ledger.wire.secrets import log_to_stderr


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the database; made where there is none.",
)
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=PORT, help="Port to listen on.")
def up(data_dir: Path | None, host: str | None, port: int | None) -> None:
    """Serve everything on one host: database, API, HTTP ingest, allocation and rating.

    The data directory survives restarts. The first start shows an admin key, once.
    """
    given = {"data_dir": data_dir, "host": host, "port": port}
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = Settings(**chosen)  # type: ignore[arg-type]
    log_to_stderr(settings.log_level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with _listen(settings) as listening, embedded_server(settings.data_dir) as database:
        urls = _prepare(database)
        assert urls.worker is not None
        _show_first_key(urls.worker)
        serve_metrics(settings, transport="http")
        serving = settings.model_copy(update={"worker_url": urls.worker, "api_url": urls.api})
        with (
            supervised(database),
            watch(urls.worker, frozen_s=settings.frozen_seconds),
            intake_process(serving) as intake,
            report_process(serving, settles=True) as reports,
        ):
            started = uvloop.run(serve(serving, listening, Beside(reports, intake)))
    if not started:
        raise UnavailableError(
            f"The database in {settings.data_dir} did not answer for as long as it was asked.",
            "Look at its log in postgres/, then run it again.",
        )
    click.echo("Stopped.", err=True)


async def serve(settings: Settings, listening: socket.socket, beside: Beside) -> bool:
    """Serve the API on a socket until SIGINT or SIGTERM; whether it came to that."""
    server = Server(server_config(create_app(settings, beside=beside), settings, log_config=None))
    collect_rarely()
    host, port = listening.getsockname()[:2]
    with server.capture_signals():
        click.echo(f"Serving http://{host}:{port} from {settings.data_dir}. Stop with Ctrl-C.")
        await server.serve(sockets=[listening])
    return server.started


@contextmanager
def _listen(settings: Settings) -> Iterator[socket.socket]:
    """Take the port first: a start that cannot serve changes nothing."""
    try:
        listening = socket.create_server((settings.host, settings.port))
    except OSError as error:
        raise UnavailableError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}.",
            "Choose another --port.",
        ) from error
    with listening:
        yield listening


def _prepare(database: EmbeddedServer) -> DatabaseUrls:
    urls = DatabaseUrls(
        database.url(OWNER), database.url(WORKER), database.url(API), database.url()
    )
    migrate_urls(urls)
    return urls


def _show_first_key(worker_url: str) -> None:
    text = asyncio.run(_open_books(worker_url))
    if text is not None:
        click.echo(f"Admin key, shown this once: {text}")


async def _open_books(worker_url: str) -> str | None:
    """Make the days ahead, and the first admin key where there is none."""
    connection = await connect(worker_url)
    try:
        await prepare_storage(connection, now=clock.now())
        if any(key.role == "admin" for key in await list_api_keys(connection)):
            return None
        new = NewApiKey(role="admin", name="first key")
        made = await create_api_key(connection, new, author_of("first start of `tokenledger up`"))
        return made.text
    finally:
        await connection.close()
