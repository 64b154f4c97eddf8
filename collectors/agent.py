"""The collector's loop: sample sources, scrape engines, spool, send; one bad source stops no other.

With ledger/clock.py the only place that asks what time it is.
"""

import logging
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from collectors.delivery import Delivery
from collectors.errors import (
    CollectError,
    CollectSettingsError,
    RestartNeededError,
    SourceError,
    SpoolError,
)
from collectors.publish import open_publisher
from collectors.reading import EventDict
from collectors.refused import RefusedEvents
from collectors.scrape import Scraper
from collectors.settings import CollectSettings
from collectors.sources import SOURCES, Source
from collectors.spool import Spool, SpoolLimits

log = logging.getLogger(__name__)

LOG_EVERY_S = 60
EXIT_OK = 0
# Something that was read is not in the books: refused, lost on disk, or left at the end.
EXIT_UNDELIVERED = 1
EXIT_SETTINGS = 2
# EX_TEMPFAIL: a supervisor that starts the collector again has solved it.
EXIT_RESTART = 75


@dataclass(slots=True)
class Tally:
    """What the agent did since it started, shown in a log line each minute."""

    energy_readings: int = 0
    scrapes: int = 0
    faults: int = 0
    lost_rounds: int = 0


class Collector:
    """Reads everything once a round and hands it to the spool."""

    def __init__(
        self, settings: CollectSettings, *, sources: Sequence[Source], spool: Spool
    ) -> None:
        self._settings = settings
        self._sources = list(sources)
        self._spool = spool
        self._scrapers = [Scraper.of(target) for target in settings.targets]
        self._pool = ThreadPoolExecutor(max(1, len(self._scrapers)), "scrape")
        self._running: dict[int, Future[list[EventDict]]] = {}
        self.tally = Tally()

    @property
    def finished(self) -> bool:
        """Whether nothing will ever come again: every source ended and no server is scraped."""
        return not self._scrapers and all(source.finished for source in self._sources)

    def collect_round(self) -> int:
        """Read everything that is ready and spool it; returns how many batches that made."""
        events = [*self._sample_sources(), *self._take_scrapes()]
        self._start_scrapes()
        try:
            return self._spool.append(events)
        except CollectError as error:
            # Cumulative counters: the next round that can be kept carries this one's energy too.
            self.tally.lost_rounds += 1
            log.error("spool: %d events not kept: %s", len(events), error)
            return 0

    def close(self) -> None:
        """Wait for the scrapes under way, keep what they brought, let the sources go."""
        self._pool.shutdown(wait=True)
        try:
            self._spool.append(self._take_scrapes())
        except CollectError as error:
            log.error("spool: last scrapes not kept: %s", error)
        for source in self._sources:
            source.close()
        for scraper in self._scrapers:
            scraper.close()

    def _sample_sources(self) -> list[EventDict]:
        events: list[EventDict] = []
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
            recorded_at = utc_now()
            events += [reading.to_event(recorded_at=recorded_at) for reading in sample.readings]
            self.tally.energy_readings += len(sample.readings)
        return events

    def _start_scrapes(self) -> None:
        """Begin a scrape of every server whose last one is over: a slow one delays no other."""
        for index, scraper in enumerate(self._scrapers):
            if index not in self._running:
                self._running[index] = self._pool.submit(self._scrape, scraper)

    def _scrape(self, scraper: Scraper) -> list[EventDict]:
        timeout_s = float(self._settings.scrape_timeout_s)
        reading = scraper.scrape(now=utc_now(), timeout_s=timeout_s)
        recorded_at = utc_now()
        parts = reading.parts(self._settings.batch_bytes)
        return [part.to_event(recorded_at=recorded_at) for part in parts]

    def _take_scrapes(self) -> list[EventDict]:
        events: list[EventDict] = []
        for index, future in list(self._running.items()):
            if not future.done():
                continue
            del self._running[index]
            try:
                events += future.result()
                self.tally.scrapes += 1
            except (CollectError, OSError) as error:
                self._fault("scrape", error)
        return events

    def _fault(self, where: str, error: Exception) -> None:
        self.tally.faults += 1
        log.warning("%s: %s", where, error)


def run_agent(settings: CollectSettings, *, stop: threading.Event | None = None) -> int:
    """Collect until SIGTERM, SIGINT or `stop`; returns the process's exit status."""
    stopping = stop or threading.Event()
    _stop_on_signals(stopping)
    try:
        with ExitStack() as stack:
            delivery, spool = _run(settings, stopping, stack)
        return _status(settings, delivery, spool)
    except RestartNeededError as error:
        log.error("%s; the process ends so that a new one loads the new driver", error)
        return EXIT_RESTART
    except (CollectSettingsError, SpoolError, SourceError) as error:
        log.error("%s", error)
        return EXIT_SETTINGS
    except CollectError as error:
        log.error("%s", error)
        return EXIT_RESTART


def _status(settings: CollectSettings, delivery: Delivery, spool: Spool) -> int:
    state = spool.state()
    log.info(
        "collector: ended; delivered=%d refused=%d lost_batches=%d left_batches=%d",
        delivery.delivered,
        delivery.refused,
        state.dropped_batches,
        state.waiting_batches,
    )
    left = settings.exit_when_done and state.waiting_batches
    return EXIT_UNDELIVERED if delivery.refused or state.dropped_batches or left else EXIT_OK


def _run(
    settings: CollectSettings, stop: threading.Event, stack: ExitStack
) -> tuple[Delivery, Spool]:
    publisher = open_publisher(settings)
    spool = stack.enter_context(_open_spool(settings))
    agent = Collector(settings, sources=_open_sources(settings), spool=spool)
    refused = RefusedEvents(settings.spool_dir, settings.refused_bytes)
    delivery = Delivery(spool, publisher, settings.encoding, refused=refused)
    delivery.start()
    stack.callback(lambda: delivery.drain(float(settings.drain_s)))
    stack.callback(agent.close)
    _loop(settings, agent=agent, delivery=delivery, spool=spool, stop=stop)
    return delivery, spool


def _loop(
    settings: CollectSettings,
    *,
    agent: Collector,
    delivery: Delivery,
    spool: Spool,
    stop: threading.Event,
) -> None:
    interval_s = float(settings.interval_s)
    due = logged = time.monotonic()
    while not stop.is_set():
        if agent.collect_round():
            delivery.wake()
        if agent.finished and settings.exit_when_done:
            return
        if not delivery.alive:
            raise CollectError("the sending thread ended; what was read is spooled, start again")
        now = time.monotonic()
        if now - logged >= LOG_EVERY_S:
            logged = now
            _log_state(agent, delivery, spool)
        # A round that took too long is not made up for: cumulative counters lose nothing by it.
        due = max(due + interval_s, now)
        stop.wait(due - now)


def _log_state(agent: Collector, delivery: Delivery, spool: Spool) -> None:
    tally, state = agent.tally, spool.state()
    log.info(
        "collector: energy_readings=%d scrapes=%d faults=%d lost_rounds=%d delivered=%d "
        "refused=%d publish_failures=%d waiting=%d waiting_bytes=%d dropped=%d sequence=%d",
        tally.energy_readings,
        tally.scrapes,
        tally.faults,
        tally.lost_rounds,
        delivery.delivered,
        delivery.refused,
        delivery.failures,
        state.waiting_batches,
        state.waiting_bytes,
        state.dropped_batches,
        state.last_sequence,
    )


def _open_spool(settings: CollectSettings) -> Spool:
    return Spool(
        settings.spool_dir,
        source=settings.source,
        producer=settings.producer,
        # Microseconds: a directory made anew, even at once, never repeats an epoch.
        new_epoch=time.time_ns() // 1_000,
        limits=SpoolLimits(spool_bytes=settings.spool_bytes, batch_bytes=settings.batch_bytes),
    )


def _open_sources(settings: CollectSettings) -> list[Source]:
    opened: list[Source] = []
    for name, opener in SOURCES.items():
        try:
            source = opener(settings, utc_now())
        except RestartNeededError:
            raise
        except SourceError as error:
            if name != "nvml" or settings.nvml == "on":
                raise
            log.info("no NVML on this host: %s", error)
            continue
        if source is not None:
            opened.append(source)
    if not opened and not settings.targets:
        raise CollectSettingsError(
            "nothing to collect: no GPU, no replay_file and no targets; set one of them"
        )
    return opened


def _stop_on_signals(stop: threading.Event) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())


def utc_now() -> datetime:
    """The wall clock, aware, in UTC."""
    return datetime.now(UTC)
