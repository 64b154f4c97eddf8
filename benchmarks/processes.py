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
    """Memory of one process, sampled in a thread from `start` on."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.samples: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def between(self, first: float, last: float) -> list[int]:
        """Resident bytes of each sample in this stretch of `time.perf_counter`."""
        return [rss for at, rss in self.samples if first <= at <= last]

    def stop(self) -> None:
        """End sampling."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            try:
                self.samples.append((time.perf_counter(), self.process.memory_info().rss))
            except psutil.NoSuchProcess:
                return


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
