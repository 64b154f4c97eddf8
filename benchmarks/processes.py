"""The processes under measurement, started as an operator starts them, and what they take."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil

from benchmarks.server import cpu_seconds

MIB = 2**20
SAMPLE_S = 0.1
END_S = 30


class Watch:
    """Memory of a process, sampled in a thread from `start` on; `whole`: of the largest of it and
    those it started, and of all `together`."""

    def __init__(self, process: psutil.Process, *, whole: bool = False) -> None:
        self.process = process
        self.whole = whole
        self.samples: list[tuple[float, int]] = []
        self.together = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def between(self, first: float, last: float) -> list[int]:
        """Resident bytes of the largest in each sample in this stretch of `time.perf_counter`."""
        return [rss for at, rss in self.samples if first <= at <= last]

    def cpu_seconds(self) -> float:
        """CPU time of all that run now."""
        return sum(map(cpu_seconds, self._watched()))

    def stop(self) -> None:
        """End sampling."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            found = list(map(_resident, self._watched()))
            if not any(found):
                return
            self.samples.append((time.perf_counter(), max(found)))
            self.together = max(self.together, sum(found))

    def _watched(self) -> list[psutil.Process]:
        try:
            started = self.process.children(recursive=True) if self.whole else []
        except psutil.NoSuchProcess:
            started = []
        return [self.process, *started]


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


@contextmanager
def running(command: list[str], settings: Mapping[str, str]) -> Iterator[psutil.Process]:
    """`tokenledger COMMAND` with these TOKENLEDGER_* settings, ended on leaving."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOKENLEDGER_")}
    named = {f"TOKENLEDGER_{name.upper()}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "ledger.cli", *command],
        env={**environment, "TOKENLEDGER_LOG_LEVEL": "WARNING", **named},
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def java_seconds() -> float:
    """CPU time of the broker, where it is a process of ours and not a container."""
    children = psutil.Process().children(recursive=True)
    return sum(cpu_seconds(each) for each in children if each.name() == "java")
