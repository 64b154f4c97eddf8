"""Another process for a part of a run, because Python computes on one processor at a time.

It has a session of its own, is given one piece after another, and ends with the run; what it was at
then is rolled back.
"""

import asyncio
import gc
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection as pipes
from typing import TypeVar

from ledger.domain.errors import UnavailableError
from ledger.store import stage_runs
from ledger.store.connect import Reached, reached_of
from ledger.store.queries import Connection

Given = TypeVar("Given")
Came = TypeVar("Came")


@dataclass(frozen=True, slots=True)
class _Order:
    """What the process is told first: what to do with each piece, for a run of which stage, and how
    seldom it is to look for garbage."""

    reached: Reached
    stage: str
    work: Callable[..., Awaitable[object]]
    collect_after: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


@asynccontextmanager
async def other_process(
    connection: Connection, stage: str, work: Callable[[Connection, Given], Awaitable[Came]]
) -> AsyncIterator[Callable[[Given], Awaitable[Came]]]:
    """Have another process do `work`, a function of a module or a partial of one, with pieces, over
    a session like that of a connection; while it is open, no other run of the stage begins.

    Its first error ends it, and is raised here; UnavailableError where it ends by itself.
    """
    ours, theirs = pipes.Pipe()
    with ours:
        with theirs:
            process = await _start(theirs)

        async def ask(given: Given) -> Came:
            with _reachable():
                await asyncio.to_thread(ours.send, given)
                came: Came | _Failed = await asyncio.to_thread(ours.recv)
            if isinstance(came, _Failed):
                raise came.error
            return came

        try:
            ours.send(_Order(reached_of(connection), stage, work, gc.get_threshold()))
            yield ask
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _start(theirs: pipes.Connection) -> Process:
    number = theirs.fileno()
    # In a session of its own: who interrupts the run at a terminal means the run.
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"from {__name__} import main; main()", str(number)),
        stdin=DEVNULL,
        pass_fds=(number,),
        start_new_session=True,
    )


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise UnavailableError(
            "A process that did a part of the run is gone.", "Run it again: it goes on behind that."
        ) from error


async def _serve(pipe: pipes.Connection) -> None:
    order: _Order = pipe.recv()
    gc.freeze()
    gc.set_threshold(*order.collect_after)
    async with stage_runs.beside_run(order.reached, order.stage) as connection:
        while True:
            given = await asyncio.to_thread(pipe.recv)
            pipe.send(await order.work(connection, given))


def main() -> None:
    """Do what comes through the pipe whose number is given, until nobody holds its other end."""
    with pipes.Connection(int(sys.argv[1])) as pipe, suppress(EOFError, BrokenPipeError):
        try:
            asyncio.run(_serve(pipe))
        except Exception as error:
            pipe.send(_Failed(error))
