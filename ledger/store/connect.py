"""Connections to PostgreSQL: pools with the ledger's session settings, and the stored clock."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from ledger.domain.errors import ConflictError
from ledger.store.queries import Connection, OwnConnection, Pool, load_queries

CLOCK = load_queries("clock")
# The planner overrates queries over many partitions: compiling them costs more than it saves.
SESSION = {"timezone": "UTC", "jit": "off"}
# Batches of one process wait for one another outside the database, where it sees no deadlock: a
# writer that waits longer than this gives its batch up and begins again. Our own changes of tables
# give up sooner, to let writers go on; this is for those of others.
WRITING = SESSION | {"lock_timeout": "10s"}
# One answer of many at once has one process of PostgreSQL: to start more takes longer than most of
# them do, and whoever else asks waits for these too.
ANSWERING = SESSION | {"max_parallel_workers_per_gather": "0"}
# What only reads is told so, whether or not it begins a transaction.
READING = ANSWERING | {"default_transaction_read_only": "on"}

# What a socket on this machine is asked to take before its reader has; the kernel may give less.
SEND_BYTES = 512 * 1024
# When to ask the kernel again that has just been asked too often.
AGAIN_S = 0.15
# The cut-off of what is asked now, whatever was stored.
AS_IT_STANDS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CutOff:
    """A point in the stored order: everything up to and including `batch_seq` is visible to it."""

    cut_off_id: int
    batch_seq: int
    drawn_at: datetime


class DamagedSumError(ConflictError):
    """What a batch adds to windows is not what was stored."""

    title = "Damaged sums"

    def __init__(self, batch_seq: int) -> None:
        self.batch_seq = batch_seq
        super().__init__(
            f"What batch {batch_seq} adds to windows is not what was stored: its SHA-256 differs."
            " Reports end before it.",
            "Restore the database from a backup.",
        )


async def prepare(connection: Connection) -> None:
    """Session settings every connection of ours carries: UTC, and jsonb as Python values."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_to_jsonb, decoder=_from_jsonb, format="binary"
    )


def _to_jsonb(value: object) -> bytes:
    # Binary, because COPY takes nothing else; the first byte is the version of the format.
    return b"\x01" + json.dumps(value).encode()


def _from_jsonb(data: bytes) -> object:
    return json.loads(data[1:])


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a session is, and with which settings: another like it is made of these, here or in
    another process."""

    url: str
    settings: Mapping[str, str]


class _NotAsked(NamedTuple):
    """In place of the statement that asked: one with a name has disturbed no other."""

    name: str = "none"


# Below this an object's number is PostgreSQL's own, the same in every database for ever.
_OF_DATABASES = 10_000
_arrays: dict[frozenset[int], list[asyncpg.Record]] = {}


class _WideConnection(asyncpg.Connection):
    """One whose socket takes a whole batch at once: by default it takes a fifth of a megabyte, and
    a COPY waits again and again until the loop comes to send the next. It knows how it was
    reached, and asks what an array of PostgreSQL's own types is once a process: each session asked
    several times, for milliseconds of planning each."""

    __slots__ = ("reached",)

    reached: Reached

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        reached = transport.get_extra_info("socket")
        # Between machines the kernel finds the size itself, as long as nobody sets it.
        if reached is not None and reached.family == socket.AF_UNIX:
            reached.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
            _stand_back(self.get_server_pid())

    async def _introspect_types(
        self, typeoids: Iterable[int], timeout: float | None
    ) -> tuple[list[asyncpg.Record], object]:
        asked = frozenset(typeoids)
        if asked in _arrays:
            return _arrays[asked], _NotAsked()
        # asyncpg makes no promise of this name: were it called otherwise, each session would ask.
        types, statement = await methodcaller("_introspect_types", asked, timeout)(super())
        if max(asked) < _OF_DATABASES:
            _arrays[asked] = types
        return types, statement


def _stand_back(backend: int) -> None:
    """Have the process of a session on this machine stand back as far as its user does: what a
    report asks for would else be computed before all that is waited for."""
    niceness = os.nice(0)
    with suppress(OSError):
        # Of another machine's numbers of processes nothing is known here.
        if niceness > 0 and Path(f"/proc/{backend}/comm").read_text().strip() == "postgres":
            os.setpriority(os.PRIO_PROCESS, backend, niceness)
            _stand_back_as_session(backend, niceness)


def _stand_back_as_session(backend: int, niceness: int) -> None:
    """Each process of PostgreSQL leads a session of its own, and where the kernel shares the
    processors among sessions (autogroup) the niceness of a process counts within its own alone."""
    session = os.open(f"/proc/{backend}/autogroup", os.O_WRONLY)
    try:
        os.write(session, str(niceness).encode())
    except BlockingIOError:
        # Who is not root may do so ten times a second.
        asyncio.get_running_loop().call_later(AGAIN_S, _stand_back, backend)
    finally:
        os.close(session)


async def connect(url: str, settings: Mapping[str, str] = SESSION) -> OwnConnection:
    """One prepared connection, with SESSION or more than it; the caller closes it."""
    connection = await asyncpg.connect(
        url, server_settings=dict(settings), connection_class=_WideConnection
    )
    _remember(connection, Reached(url, dict(settings)))
    await prepare(connection)
    return connection


def _remember(connection: OwnConnection, reached: Reached) -> None:
    if isinstance(connection, _WideConnection):
        connection.reached = reached


# How a connection made here was reached; of one of a pool as well, which stands behind another.
reached_of: Callable[[Connection], Reached] = attrgetter("reached")


@asynccontextmanager
async def another(reached: Reached) -> AsyncIterator[OwnConnection]:
    """A prepared session like one made here, closed on leaving; ConnectionError where the server
    does not answer."""
    try:
        other = await connect(reached.url, reached.settings)
    except OSError as error:
        raise ConnectionError(f"no connection to the database: {error}") from error
    try:
        yield other
    finally:
        await other.close()


@asynccontextmanager
async def open_pool(
    url: str,
    *,
    size: int = 8,
    application: str = "tokenledger",
    settings: Mapping[str, str] = SESSION,
    leaves_nothing: bool = False,
) -> AsyncIterator[Pool]:
    """A pool of prepared connections, closed on leaving.

    Where its users leave nothing in a session but for an open transaction, which is rolled back,
    `leaves_nothing` saves a statement each time a connection is given back.
    """
    named = {**settings, "application_name": application}
    async with asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        init=prepare,
        connect=_reach,
        connection_class=_WideConnection,
        server_settings=named,
        reset=_as_it_is if leaves_nothing else None,
    ) as pool:
        yield pool


async def _as_it_is(_: Connection) -> None:
    """What asyncpg does of itself is enough: it rolls back what was not ended."""


async def _reach(*where: Any, **how: Any) -> OwnConnection:
    """ConnectionError where the server does not answer, whatever the socket is."""
    try:
        connection: OwnConnection = await asyncpg.connect(*where, **how)
    except OSError as error:
        raise ConnectionError(f"no connection to the database: {error}") from error
    _remember(connection, Reached(where[0], dict(how["server_settings"])))
    return connection


async def draw_batch_seq(connection: Connection) -> int:
    """The number of the batch this transaction stores; draw it late, when its rows are ready."""
    return int(await CLOCK["draw_batch_seq"].value(connection))


async def draw_cut_off(connection: Connection, purpose: str) -> CutOff:
    """Draw and keep a cut-off; read facts for it in statements that start after this returns.

    Outside a transaction all that is closed is summed first. In one it may lie lower, below what
    nobody has summed yet: to sum would keep everybody else's cut-offs out until it ends.
    """
    with suppress(DamagedSumError):
        await sum_windows(connection)
    (drawn,) = await CLOCK["draw_cut_off"].values(connection, CutOff, purpose=purpose)
    return drawn


async def sum_windows(connection: Connection) -> int:
    """Sum what closed batches added to windows, and return how many batches that were.

    Inside a transaction it does nothing. DamagedSumError where a batch cannot be summed: those
    before it are, and cut-offs lie below it.
    """
    if connection.is_in_transaction() or await CLOCK["is_summed"].value(connection):
        return 0
    # Who draws where nothing waits needs no frames.
    from ledger.store.sums import sum_pending

    summed = await sum_pending(connection)
    if summed.damaged is not None:
        raise DamagedSumError(summed.damaged)
    return summed.batches


async def find_cut_off(connection: Connection, cut_off_id: int) -> CutOff | None:
    """A cut-off drawn earlier, or None."""
    return await CLOCK["find_cut_off"].first(connection, CutOff, cut_off_id=cut_off_id)
