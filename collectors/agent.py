"""What the collector does in a round: sample sources, start and take scrapes, hold what they say.

One bad source stops no other.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from collectors.clock import utc_now
from collectors.errors import CollectError, RestartNeededError
from collectors.lines import LineWriter
from collectors.ongoing import Ongoing
from collectors.reading import AnyReading
from collectors.rounds import HeldRounds
from collectors.scrape import Scraper
from collectors.scraping import Scrape, ScrapeThread
from collectors.settings import CollectSettings
from collectors.sources import Source
from collectors.spool import Spool

log = logging.getLogger(__name__)

# What was read is in a file no later than this: rounds that come faster are encoded together.
WRITTEN_WITHIN_S = 1


@dataclass(slots=True)
class Tally:
    """What the agent did since it started, shown in a log line each minute."""

    energy_readings: int = 0
    scrapes: int = 0
    faults: int = 0
    lost_events: int = 0
    unfit_events: int = 0
    read_at: float = field(default_factory=time.monotonic)


class Collector:
    """Reads everything once a round, and hands the rounds of a batch to the spool."""

    def __init__(
        self,
        settings: CollectSettings,
        *,
        sources: Sequence[Source],
        spool: Spool,
        held: HeldRounds,
        tally: Tally,
    ) -> None:
        self._settings = settings
        # Seconds between two rounds.
        self.interval_s = float(settings.interval_s)
        self._sources = list(sources)
        self._spool = spool
        self._held = held
        self._writer = LineWriter(settings.batch_bytes)
        self._unwritten: list[tuple[Sequence[AnyReading], datetime]] = []
        self._written_at = time.monotonic()
        self._scrapers = [Scraper.of(target) for target in settings.targets]
        self._scrapes = [ScrapeThread(partial(self._scrape, scraper)) for scraper in self._scrapers]
        self._scrape_s = float(settings.scrape_interval_s)
        self._scrape_due = time.monotonic()
        self.tally = tally
        self.troubles = Ongoing(log)

    @property
    def finished(self) -> bool:
        """Whether nothing will ever come again: every source ended and no server is scraped."""
        return not self._scrapers and all(source.finished for source in self._sources)

    @property
    def unread(self) -> Mapping[str, frozenset[str]]:
        """What of each server's last page could not be read or was left out, with its reasons."""
        return {scraper.target.instance: scraper.troubles for scraper in self._scrapers}

    @property
    def due(self) -> bool:
        """Whether what is held is a batch already, however recent the last one is."""
        return self._held.full

    def collect_round(self) -> None:
        """Read everything that is ready and hold it."""
        self._sample_sources()
        self._take_scrapes()
        self._start_scrapes()
        self.tally.read_at = now = time.monotonic()
        if now + self.interval_s > self._written_at + WRITTEN_WITHIN_S:
            self._write()

    def flush(self) -> int:
        """Spool what is held; returns how many batches that made."""
        self._write()
        try:
            made = self._spool.append_lines(self._held.lines)
        except CollectError as error:
            self.troubles.tell("spool", f"what was read waits in memory: {error}")
            if not self._held.overflows:
                return 0
            # Cumulative counters: the next round that can be kept carries this one's energy too.
            self.tally.lost_events += len(self._held.lines)
            log.error("spool: %d events are lost, it takes none: %s", len(self._held.lines), error)
            made = 0
        if self._held.lines:
            self._held.clear(self._spool.state().last_sequence + 1)
        return made

    def close(self) -> None:
        """Wait for the scrapes under way, keep what they brought; sources stay open."""
        for scrape in self._scrapes:
            scrape.close()
        self._take_scrapes()
        self.flush()
        for scraper in self._scrapers:
            scraper.close()

    def _write(self) -> None:
        """Encode the rounds read since the last time, together, and hold their lines."""
        self._written_at = time.monotonic()
        if not self._unwritten:
            return
        lines: list[bytes] = []
        for readings, recorded_at in self._unwritten:
            made = self._writer.lines(readings, recorded_at)
            self.tally.unfit_events += len(readings) - len(made)
            lines += made
        self._unwritten.clear()
        self._held.add(lines)

    def _sample_sources(self) -> None:
        for source in self._sources:
            try:
                sample = source.sample(utc_now())
            except RestartNeededError:
                raise
            except (CollectError, OSError) as error:
                self._fault(f"source {source.name}", error)
                continue
            for fault in sample.faults:
                self._fault(f"source {source.name}", fault)
            self._unwritten.append((sample.readings, utc_now()))
            self.tally.energy_readings += len(sample.readings)

    def _start_scrapes(self) -> None:
        """Begin a scrape of every server whose last one is over: a slow one delays no other."""
        now = time.monotonic()
        if now < self._scrape_due:
            return
        self._scrape_due = max(self._scrape_due + self._scrape_s, now)
        for scrape in self._scrapes:
            scrape.begin()

    def _scrape(self, scraper: Scraper) -> Scrape:
        timeout_s = float(self._settings.scrape_timeout_s)
        reading = scraper.scrape(now=utc_now(), timeout_s=timeout_s)
        return reading.parts(self._settings.batch_bytes), utc_now()

    def _take_scrapes(self) -> None:
        for scraper, scrape in zip(self._scrapers, self._scrapes, strict=True):
            try:
                came = scrape.take()
            except (CollectError, OSError) as error:
                self._fault(f"scrape {scraper.target.instance}", error)
                continue
            if came is not None:
                self._unwritten.append(came)
                self.tally.scrapes += 1

    def _fault(self, where: str, error: Exception) -> None:
        self.tally.faults += 1
        self.troubles.tell(where, str(error))
