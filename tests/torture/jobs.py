"""Several seeds at once, each process with a database server and a broker of its own."""

import queue
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import NoReturn

from tests.torture.run import Ground, Outcome, ground, run_seed

LOOK_S = 1


def run_all(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come; a process that dies takes the seed it was at with it."""
    context = get_context("spawn")
    todo: Queue[int] = context.Queue()
    done: Queue[Outcome] = context.Queue()
    for seed in seeds:
        todo.put(seed)
    processes = [context.Process(target=_work, args=(todo, done)) for _ in range(jobs)]
    try:
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes):
            with suppress(queue.Empty):
                yield done.get(timeout=LOOK_S)
        with suppress(queue.Empty):
            while True:
                yield done.get(timeout=LOOK_S)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def leave(*_: object) -> NoReturn:
    """End as by an exception, so that servers are stopped and what is known is kept."""
    sys.exit(1)


def _work(todo: "Queue[int]", done: "Queue[Outcome]") -> None:
    signal.signal(signal.SIGTERM, leave)
    with ground() as parts, suppress(queue.Empty):
        while True:
            done.put(_run(parts, todo.get(timeout=LOOK_S)))


def _run(parts: Ground, seed: int) -> Outcome:
    try:
        return run_seed(parts, seed)
    except Exception:
        return Outcome(seed, (), {}, 0, [traceback.format_exc()])
