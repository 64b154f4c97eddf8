"""Which database a command works on: URLs from the settings, or the embedded one of a directory."""

import asyncio
import getpass
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, MissingInputError, UnavailableError
from ledger.embedded.postgres import embedded_server, running_url
from ledger.settings import Settings
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.store.roles import API, OWNER, SUPERUSER, WORKER
from ledger.store.schema import check_schema

T = TypeVar("T")
Command = Callable[..., Any]
# What a server needs to start; another command may just be starting or stopping it.
WAIT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """Where the database is, for each role; a role that was not configured is None."""

    owner: str | None
    worker: str | None
    api: str | None
    superuser: str | None = None


@dataclass(frozen=True, slots=True)
class Database:
    """The database a command was told to use."""

    settings: Settings
    data_dir: Path | None

    @contextmanager
    def urls(self) -> Iterator[DatabaseUrls]:
        """Its URLs; an embedded server that does not run is started for the time being."""
        given = self.settings
        configured = (given.owner_url, given.worker_url, given.api_url)
        if self.data_dir is None and any(configured):
            yield DatabaseUrls(*configured)
            return
        folder = self.data_dir or given.data_dir
        if not (folder / "postgres" / "PG_VERSION").exists():
            raise MissingInputError(
                f"There is no database in {folder}.",
                "Start one with `tokenledger up`, name its directory with --data-dir, or set"
                " TOKENLEDGER_WORKER_URL.",
            )
        with _embedded_urls(folder) as urls:
            yield urls

    def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` on one connection of the worker role."""
        with self.urls() as urls:
            return asyncio.run(_on_connection(urls.worker, work))


def database_options(command: Command) -> Command:
    """Give a command `--data-dir`, and its `database` argument."""

    @wraps(command)
    def wrapped(*args: object, data_dir: Path | None, **rest: object) -> object:
        return command(*args, database=Database(Settings(), data_dir), **rest)

    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Directory of the embedded database; without it TOKENLEDGER_*_URL, else the default.",
    )(wrapped)


def author_of(reason: str | None, unsaid: str = "") -> Author:
    """Who writes from this terminal, and why; `unsaid` is kept where they say nothing."""
    request_id = f"cli-{uuid.uuid4().hex}"
    return Author(f"cli:{getpass.getuser()}", reason or unsaid, request_id, stated=bool(reason))


async def _on_connection(url: str | None, work: Callable[[Connection], Awaitable[T]]) -> T:
    if url is None:
        raise MissingInputError(
            "The URL of the worker role is not set.", "Set TOKENLEDGER_WORKER_URL."
        )
    connection = await open_connection(url)
    try:
        return await work(connection)
    finally:
        await connection.close()


async def open_connection(url: str, *, any_schema: bool = False) -> Connection:
    """A prepared connection; UnavailableError where the server does not answer.

    ConflictError where the database has another schema than this version needs, unless any will do.
    """
    try:
        connection = await connect(url)
    except (OSError, TimeoutError) as error:
        raise UnavailableError(
            f"The database does not answer: {error}.", "Is it running, and its URL right?"
        ) from error
    if not any_schema:
        try:
            await check_schema(connection)
        except BaseException:
            await connection.close()
            raise
    return connection


def check_start(url: str) -> None:
    """Refuse to serve a database of another schema; one that does not answer may answer later."""
    with suppress(UnavailableError):
        asyncio.run(_open_and_close(url))


async def _open_and_close(url: str) -> None:
    await (await open_connection(url)).close()


@contextmanager
def _embedded_urls(folder: Path) -> Iterator[DatabaseUrls]:
    try:
        server = embedded_server(folder)
        running = server.__enter__()
    except ConflictError:
        yield _wait_for_urls(folder)
        return
    try:
        yield DatabaseUrls(running.url(OWNER), running.url(WORKER), running.url(API), running.url())
    finally:
        server.__exit__(None, None, None)


def _wait_for_urls(folder: Path) -> DatabaseUrls:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return DatabaseUrls(
                *(running_url(folder, role) for role in (OWNER, WORKER, API, SUPERUSER))
            )
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
