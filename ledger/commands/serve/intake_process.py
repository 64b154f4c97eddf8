"""The process beside a server that decodes and stores the events it takes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from ledger.commands.serve.process_beside import serving_beside, when_gone
from ledger.settings import Settings
from ledger.stream.memory import collect_rarely, frames_in_a_thread, share_heaps

# Whoever is answered at once goes first, and by little: a batch asks for its turn many times.
NICENESS = 1


@contextmanager
def intake_process(settings: Settings) -> Iterator[Path]:
    """Keep one running until left; yields the socket it listens on."""
    with serving_beside("events", _serve, settings, niceness=NICENESS) as socket:
        yield socket


def _serve(settings: Settings, socket: Path, alive: Connection) -> None:
    share_heaps()
    frames_in_a_thread()
    uvloop.run(_store(settings, socket, alive))


async def _store(settings: Settings, socket: Path, alive: Connection) -> None:
    from ledger.api.far_intake import serve_intake
    from ledger.api.intake import open_intake
    from ledger.flows.metering.limits import limits_of

    assert settings.worker_url is not None, "a server has one"
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    when_gone(alive, lambda: loop.call_soon_threadsafe(ended.set))
    async with open_intake(settings.worker_url, limits_of(settings)) as intake:
        collect_rarely()
        await serve_intake(intake, socket, ended)
