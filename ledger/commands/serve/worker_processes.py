"""The processes of a worker beside its first: each stores what its partitions hold.

One interpreter keeps little more than one processor busy, whatever its threads do.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from ledger.commands.serve.metrics_address import serve_metrics
from ledger.commands.serve.process_beside import process_beside, when_gone
from ledger.domain.errors import UnavailableError
from ledger.settings import Settings
from ledger.stream.memory import collect_rarely, frames_in_a_thread, share_heaps

log = logging.getLogger(__name__)
# From so many on the broker and the database are short of processors, and memory is worth more.
PROCESSES_MAX = 4
# Of a container on Linux: microseconds of processors that it may have in so many, or "max".
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def process_count(settings: Settings) -> int:
    """As many as the settings say, else as there are processors for this one, up to four."""
    if settings.worker_processes is not None:
        return settings.worker_processes
    can_ask = hasattr(os, "sched_getaffinity")
    processors = len(os.sched_getaffinity(0)) if can_ask else os.cpu_count() or 1
    quota = QUOTA.read_text() if QUOTA.is_file() else "max"
    return min(processors, whole_processors(quota), PROCESSES_MAX)


def whole_processors(quota: str) -> int:
    """Processors that a control group may have, at least one; `PROCESSES_MAX` without a limit."""
    most, _, period = quota.strip().partition(" ")
    if not (most.isdecimal() and period.isdecimal() and int(period)):
        return PROCESSES_MAX
    return max(1, int(most) // int(period))


@contextmanager
def worker_processes(settings: Settings) -> Iterator[None]:
    """Keep all of them but the first running until left, each with its metrics a port further."""
    with ExitStack() as stack:
        for number in range(1, process_count(settings)):
            theirs = settings.model_copy(update={"metrics_port": _port(settings, number)})
            stack.enter_context(process_beside(f"worker {number + 1}", _store, theirs))
        yield


def _port(settings: Settings, number: int) -> int | None:
    return None if settings.metrics_port is None else settings.metrics_port + number


def _store(settings: Settings, alive: Connection) -> None:
    share_heaps()
    frames_in_a_thread()
    try:
        serve_metrics(settings, transport="kafka")
    except (UnavailableError, OverflowError) as error:
        log.warning("%s This process stores, and shows no metrics.", error)
    uvloop.run(_until_gone(settings, alive))


async def _until_gone(settings: Settings, alive: Connection) -> None:
    from ledger.stream.consumer import run_worker

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    when_gone(alive, lambda: loop.call_soon_threadsafe(stop.set))
    collect_rarely()
    await run_worker(settings, stop)
