"""Sources that take their time, each read in a thread of its own: a slow meter delays no board."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from collectors.errors import CollectError, SourceError
from collectors.sources.source import Source, SourceSample

NOTHING = SourceSample(())


@dataclass(slots=True)
class _Beside:
    source: Source
    interval_s: float
    due: float = 0.0
    running: Future[SourceSample] | None = None

    def take(self) -> SourceSample:
        """What its last reading brought, once."""
        if self.running is None or not self.running.done():
            return NOTHING
        done, self.running = self.running, None
        try:
            return done.result()
        except SourceError as error:
            return SourceSample((), (error,))
        except (CollectError, OSError, ArithmeticError, ValueError) as error:
            return SourceSample((), (SourceError(f"{self.source.name}: {error}"),))

    def start(self, pool: ThreadPoolExecutor, now: datetime, at: float) -> None:
        """Read it again where it is time and the last reading is over."""
        if self.running is None and at >= self.due and not self.source.finished:
            self.due = at + self.interval_s
            self.running = pool.submit(self.source.sample, now)


@dataclass(slots=True)
class SourcesBeside:
    """Several sources as one."""

    name: str = "sources"
    _parts: list[_Beside] = field(default_factory=list)
    _pool: ThreadPoolExecutor | None = None

    def add(self, source: Source, interval_s: float) -> None:
        """Take one more, to be read so often."""
        self._parts.append(_Beside(source, interval_s))

    @property
    def finished(self) -> bool:
        """Whether every one of them is."""
        return all(part.source.finished and part.running is None for part in self._parts)

    def sample(self, now: datetime) -> SourceSample:
        """What came since the last round; the next readings begin."""
        self._pool = self._pool or ThreadPoolExecutor(len(self._parts), "source")
        taken = [part.take() for part in self._parts]
        at = time.monotonic()
        for part in self._parts:
            part.start(self._pool, now, at)
        return SourceSample(
            tuple(reading for sample in taken for reading in sample.readings),
            tuple(fault for sample in taken for fault in sample.faults),
        )

    def close(self) -> None:
        """Wait for the readings under way and let the sources go."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        for part in self._parts:
            part.source.close()
