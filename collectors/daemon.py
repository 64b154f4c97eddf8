"""The collector as a process: it reads, sends, shows itself, and takes new settings while it runs.

New settings are built beside the old and take their place whole; where they are wrong, or what they
name cannot be opened, the old go on.
"""

import ctypes
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

from collectors.agent import Collector, Tally
from collectors.clock import new_epoch, utc_now
from collectors.delivery import Delivery
from collectors.errors import (
    CollectError,
    CollectSettingsError,
    RestartNeededError,
    SourceError,
    SpoolError,
)
from collectors.metrics import DaemonFigures, serve_metrics
from collectors.publish import open_publisher
from collectors.refused import RefusedEvents
from collectors.rounds import HeldRounds
from collectors.settings import CollectSettings
from collectors.sources import SOURCES, Source
from collectors.spool import Spool, SpoolLimits

log = logging.getLogger(__name__)

LOG_EVERY_S = 60
# A wait no longer than this is slept: to be woken from it costs more than it is worth.
SLEPT_S = 1
REVIEW_EVERY_S = 600
FILE_CHECK_S = 2
EXIT_OK = 0
# Something that was read is not in the books: refused, lost on disk, or left at the end.
EXIT_UNDELIVERED = 1
EXIT_SETTINGS = 2
# EX_TEMPFAIL: a supervisor that starts the collector again has solved it.
EXIT_RESTART = 75
# What a spool was made for; another needs another spool.
SPOOL_SETTINGS = ("spool_dir", "source", "producer", "spool_bytes", "batch_bytes")
# Sources are opened again where anything but these has changed.
APART_FROM_SOURCES = frozenset(
    {"refused_bytes", "batch_s", "encoding", "interval_s", "scrape_interval_s", "scrape_timeout_s"}
    | {"targets", "exit_when_done", "drain_s", "metrics_port", "metrics_host", "kafka", "http"}
)
# The C library's name for how many heaps it keeps.
M_ARENA_MAX = -8
# Taken when the process starts.
AT_START = ("metrics_port", "metrics_host")
Load = Callable[[], CollectSettings]


@dataclass(slots=True)
class Told:
    """What comes from outside while the daemon runs: that it stop, that it read its settings."""

    stop: threading.Event
    reload: threading.Event


class Parts:
    """What one set of settings needs, opened; `inherited` parts are those that stay as they are."""

    def __init__(self, settings: CollectSettings, before: "Parts | None" = None) -> None:
        self.settings = settings
        self.batch_s = float(settings.batch_s)
        self.before = before
        with ExitStack() as opened:
            publisher = open_publisher(settings)
            self.sources = self._sources(opened)
            if not self.sources and not settings.targets:
                raise CollectSettingsError(
                    "nothing to collect: no GPU, no replay_file and no targets; set one of them"
                )
            self.spool, self.held = self._spooling(opened)
            self.tally: Tally = before.tally if before else Tally()
            self.agent = Collector(
                settings,
                sources=self.sources,
                spool=self.spool,
                held=self.held,
                tally=self.tally,
            )
            refused = RefusedEvents(settings.spool_dir, settings.refused_bytes)
            self.delivery = Delivery(self.spool, publisher, settings.encoding, refused=refused)
            opened.pop_all()

    def start(self) -> None:
        """Take the place of what was before, and begin to send."""
        if self.before is not None:
            self.before.stop(0, successor=self)
            self.delivery.go_on_from(self.before.delivery)
        self.before = None
        self.delivery.start()

    def stop(self, drain_s: float, *, successor: "Parts | None" = None) -> None:
        """Spool what is held, send what can be sent in time, and close what nobody takes over."""
        self.agent.close()
        self.delivery.drain(drain_s)
        if successor is None or successor.sources is not self.sources:
            for source in self.sources:
                source.close()
        if successor is None or successor.spool is not self.spool:
            self.held.close()
            self.spool.close()

    def _sources(self, opened: ExitStack) -> list[Source]:
        if self.before is not None and not _differ(self.settings, self.before.settings):
            return self.before.sources
        sources = _open_sources(self.settings)
        for source in sources:
            opened.callback(source.close)
        return sources

    def _spooling(self, opened: ExitStack) -> tuple[Spool, HeldRounds]:
        if self.before is not None and _same_spool(self.settings, self.before.settings):
            return self.before.spool, self.before.held
        spool = opened.enter_context(_open_spool(self.settings))
        held = HeldRounds(
            self.settings.spool_dir,
            batch_bytes=self.settings.batch_bytes,
            next_sequence=spool.state().last_sequence + 1,
        )
        opened.callback(held.close)
        return spool, held


def run_agent(
    settings: CollectSettings,
    *,
    stop: threading.Event | None = None,
    load: Load | None = None,
    path: Path | None = None,
) -> int:
    """Collect until SIGTERM, SIGINT or `stop`; returns the process's exit status.

    `load` reads the settings again on SIGHUP, and when the file at `path` has changed.
    """
    told = Told(stop or threading.Event(), threading.Event())
    _listen(told)
    try:
        return _Daemon(settings, told, load, path).run()
    except RestartNeededError as error:
        log.error("%s; the process ends so that a new one loads the new driver", error)
        return EXIT_RESTART
    except (CollectSettingsError, SpoolError, SourceError) as error:
        log.error("%s", error)
        return EXIT_SETTINGS
    except CollectError as error:
        log.error("%s", error)
        return EXIT_RESTART


class _Daemon:
    """The loop of rounds, and what is seen to between them."""

    def __init__(
        self, settings: CollectSettings, told: Told, load: Load | None, path: Path | None
    ) -> None:
        self._told = told
        self._load = load
        self._path = path
        _share_one_heap()
        self._parts = Parts(settings)
        self._shown = DaemonFigures(look=self._show)
        self._due = self._logged = self._reviewed = self._flushed = time.monotonic()
        self._looked = time.monotonic()
        self._stamp = _stamp(path)

    def run(self) -> int:
        parts = self._parts
        try:
            with serve_metrics(parts.settings, self._shown):
                parts.start()
                _settle()
                self._rounds()
        finally:
            self._parts.stop(float(self._parts.settings.drain_s))
        return self._status()

    def _rounds(self) -> None:
        while not self._told.stop.is_set():
            parts, now = self._parts, time.monotonic()
            parts.agent.collect_round()
            if parts.agent.due or now - self._flushed >= parts.batch_s:
                self._flush(now)
            if parts.agent.finished and parts.settings.exit_when_done:
                return
            if not parts.delivery.alive:
                raise CollectError(
                    "the sending thread ended; what was read is spooled, start again"
                )
            self._see_to(now)
            # A round that took too long is not made up for: cumulative counters lose nothing by it.
            now = time.monotonic()
            self._due = max(self._due + parts.agent.interval_s, now)
            self._rest(self._due - now)

    def _rest(self, seconds: float) -> None:
        if seconds <= SLEPT_S:
            time.sleep(seconds)
        else:
            self._told.stop.wait(seconds)

    def _flush(self, now: float) -> None:
        self._flushed = now
        if self._parts.agent.flush():
            self._parts.delivery.wake()

    def _see_to(self, now: float) -> None:
        """What need not be done in every round."""
        if self._reload_wanted(now):
            self._reload()
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            self._show()
            log.info("collector: %s", self._shown.line())
            _give_back_memory()
        if now - self._reviewed >= REVIEW_EVERY_S:
            self._reviewed = now
            self._parts.agent.troubles.review()
            self._parts.delivery.troubles.review()

    def _reload_wanted(self, now: float) -> bool:
        if self._told.reload.is_set():
            self._told.reload.clear()
            self._stamp = _stamp(self._path)
            return True
        if self._path is None or now - self._looked < FILE_CHECK_S:
            return False
        self._looked = now
        before, self._stamp = self._stamp, _stamp(self._path)
        return self._stamp != before

    def _reload(self) -> None:
        if self._load is None:
            log.info("settings: nothing to read again")
            return
        try:
            settings = self._load()
            if settings == self._parts.settings:
                return
            _refuse_at_start(settings, self._parts.settings)
            parts = Parts(settings, self._parts)
        except CollectError as error:
            self._shown.reload_failures += 1
            log.error("settings: the old ones go on: %s", error)
            return
        self._parts = parts
        parts.start()
        self._shown.reloads += 1
        log.info("settings: the new ones are in use")

    def _show(self) -> None:
        self._shown.take(self._parts.agent, self._parts.delivery, self._parts.spool)

    def _status(self) -> int:
        self._show()
        parts, shown = self._parts, self._shown
        log.info(
            "collector: ended; delivered=%d refused=%d lost_batches=%d left_batches=%d",
            shown.delivered,
            shown.refused,
            shown.dropped,
            shown.waiting,
        )
        left = parts.settings.exit_when_done and shown.waiting
        lost = shown.refused or shown.dropped or shown.lost_events
        return EXIT_UNDELIVERED if lost or left else EXIT_OK


def _share_one_heap() -> None:
    """Threads that hardly ever meet need no heap of their own; to be said before they begin."""
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(M_ARENA_MAX, 1)


def _settle() -> None:
    """What is loaded by now stays: no collection of garbage looks at it again."""
    gc.collect()
    gc.freeze()
    _give_back_memory()


def _give_back_memory() -> None:
    """Importing and parsing leave holes in the heap; where the C library can, it returns them."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What changes when a file does, or when a link leads to another one."""
    try:
        stat = os.stat(path) if path is not None else None
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat is not None else None


def _differ(new: CollectSettings, old: CollectSettings) -> bool:
    names = [
        field.name for field in fields(CollectSettings) if field.name not in APART_FROM_SOURCES
    ]
    return any(getattr(new, name) != getattr(old, name) for name in names)


def _refuse_at_start(new: CollectSettings, old: CollectSettings) -> None:
    changed = [name for name in AT_START if getattr(new, name) != getattr(old, name)]
    if changed:
        raise CollectSettingsError(f"{changed[0]} changes only when the collector is started anew")


def _same_spool(new: CollectSettings, old: CollectSettings) -> bool:
    return all(getattr(new, name) == getattr(old, name) for name in SPOOL_SETTINGS)


def _open_spool(settings: CollectSettings) -> Spool:
    return Spool(
        settings.spool_dir,
        source=settings.source,
        producer=settings.producer,
        new_epoch=new_epoch(),
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
    return opened


def _listen(told: Told) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: told.stop.set())
        signal.signal(signal.SIGHUP, lambda *_: told.reload.set())
