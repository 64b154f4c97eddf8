"""Where a worker's time goes: its threads' stacks, sampled while it reads a topic in this process.

A sample is taken when the interpreter lets go of its lock, so C code that holds it shows under the
Python line that called it.
"""

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import asyncpg

from benchmarks import events, stream
from benchmarks.broker import Topic, fill, shared_broker
from benchmarks.harness import FOLDER, Figure
from benchmarks.scale import scaled
from benchmarks.server import Bench, bench_server, sql
from ledger.settings import Settings
from ledger.store.queries import OwnConnection
from ledger.stream.consumer import run_worker

EVENTS = 550_000
PROFILE = "profile.txt"
SAMPLE_S = 0.002
SHOWN = 25
SECONDS_MAX = 200
# Innermost functions of a thread that waits for work, for the network or for another thread.
WAITING = frozenset({"select", "poll", "wait", "get", "_worker", "_wait_for_tstate_lock", "sleep"})
ROOT = str(Path(__file__).parent.parent) + "/"


class Sampler:
    """Counts, by thread, what each was doing: innermost function, and every function of ours."""

    def __init__(self) -> None:
        self.own: Counter[tuple[str, str]] = Counter()
        self.ours: Counter[tuple[str, str]] = Counter()
        self.samples = 0
        self._stop = threading.Event()

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Sample every thread but the sampler's own until left."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        own = threading.get_ident()
        while not self._stop.wait(SAMPLE_S):
            self.samples += 1
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != own:
                    self._count(names.get(ident, "?").partition("_")[0], frame)

    def _count(self, thread: str, frame: FrameType) -> None:
        if frame.f_code.co_name in WAITING:
            return
        self.own[thread, _name(frame)] += 1
        # Once a sample each, however deep it calls itself.
        found = {_name(each) for each in _stack(frame) if each.f_code.co_filename.startswith(ROOT)}
        self.ours.update((thread, name) for name in found if name.startswith("ledger/"))

    def text(self, title: str) -> str:
        """The functions with most samples, as shares of the time that was sampled."""
        lines = [f"{title}; {self.samples} samples, idle threads left out", ""]
        for heading, counted in (("own time", self.own), ("with what they call", self.ours)):
            lines.append(f"{heading}, share of the run, thread, function")
            for (thread, name), count in counted.most_common(SHOWN):
                lines.append(f"{count * 100 / max(self.samples, 1):6.1f} %  {thread:<12} {name}")
            lines.append("")
        return "\n".join(lines)


def run() -> list[Figure]:
    """Write profile.txt for each way to send whole batches of few customers; measures no figure."""
    texts = []
    with bench_server(events.customers()) as bench:
        for form in stream.FORMS.values():
            if (form.events, form.customers) == (stream.EVENTS, events.CUSTOMERS):
                topic = fill(shared_broker(), form.make(scaled(EVENTS)))
                texts.append(_profile(bench, topic, form.name))
    (FOLDER / PROFILE).write_text("\n".join(texts))
    return []


def _profile(bench: Bench, topic: Topic, title: str) -> str:
    sampler = Sampler()
    with bench.fresh() as database:
        settings = Settings(worker_url=database.worker_url, **topic.settings())  # type: ignore[arg-type]
        began = time.perf_counter()
        asyncio.run(_work(settings, database.superuser_url, topic, sampler))
        took = time.perf_counter() - began
    return sampler.text(f"{title}: {topic.events:,} events in {took:.1f} s, start-up included")


async def _work(settings: Settings, url: str, topic: Topic, sampler: Sampler) -> None:
    stop = asyncio.Event()
    connection = await asyncpg.connect(url)
    worker = asyncio.create_task(run_worker(settings, stop))
    try:
        async with asyncio.timeout(SECONDS_MAX):
            await _until(connection, 1)
            with sampler.sampling():
                await _until(connection, topic.records)
    finally:
        stop.set()
        await worker
        await connection.close()


async def _until(connection: OwnConnection, records: int) -> None:
    while await connection.fetchval(sql("progress")) < records:
        await asyncio.sleep(0.05)


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _name(frame: FrameType) -> str:
    path = frame.f_code.co_filename
    short = path.removeprefix(ROOT) if path.startswith(ROOT) else "/".join(path.split("/")[-2:])
    return f"{short}:{frame.f_code.co_qualname}"
