"""One inference server's exposition fetched over HTTP and read by its engine."""

import logging
from dataclasses import dataclass, field
from datetime import datetime

from collectors.engines import ENGINES
from collectors.engines.counters import EngineMap, RunMarks
from collectors.engines.reader import PageReader, PageReading
from collectors.errors import CollectSettingsError, ScrapeError
from collectors.fetch import Page, read_address
from collectors.reading import CountersReading
from collectors.settings import ScrapeTarget
from collectors.tls import client_context

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Run:
    marks: RunMarks
    run_id: str
    started_at: datetime | None


@dataclass(slots=True)
class Scraper:
    """A target with its engine and its page, checked before the first scrape.

    `troubles` names what of the last page could not be read or was left out, each with its reason;
    `version` is the newest version of the server whose names were seen.
    """

    target: ScrapeTarget
    engine: EngineMap
    page: Page
    reader: PageReader
    troubles: frozenset[str] = field(default_factory=frozenset)
    version: str | None = None
    _run: _Run | None = None

    @classmethod
    def of(cls, target: ScrapeTarget) -> "Scraper":
        """Refuse a target without a known engine, an address, or the files that it names."""
        address = read_address(target.url)
        engine = ENGINES.get(target.engine)
        if engine is None:
            known = ", ".join(ENGINES)
            raise CollectSettingsError(
                f"target {target.instance}: no engine {target.engine!r}; use one of {known}"
            )
        if target.bearer_file is not None and address.username is not None:
            raise CollectSettingsError(
                f"target {target.instance}: has bearer_file and a password in its url; name one"
            )
        if address.path in {"", "/"}:
            address = address._replace(path=engine.path)
        secure = address.scheme == "https"
        context = (
            client_context(
                cafile=target.ssl_cafile,
                certfile=target.ssl_certfile,
                keyfile=target.ssl_keyfile,
            )
            if secure
            else None
        )
        page = Page(address, context=context, bearer_file=target.bearer_file)
        return cls(target, engine, page, PageReader(engine))

    def scrape(self, *, now: datetime, timeout_s: float) -> CountersReading:
        """Fetch and read once; raises ScrapeError when there is nothing to count."""
        read = self.reader.read(self.page.fetch(timeout_s))
        self._name_once(read)
        self.version = read.engine.version
        if not read.engine.counters:
            raise ScrapeError(
                f"{self.page}: answered {read.samples} samples and "
                f"{read.bad_count} bad lines, no counter of {self.engine.name}; "
                "check the engine's name and that its metrics are switched on"
            )
        run = self._run_of(read.engine.marks.or_started(self.page.process_started))
        return CountersReading(
            engine=self.engine.name,
            instance=self.target.instance,
            run_id=run.run_id,
            run_started_at=run.started_at,
            scraped_at=now,
            counters=read.engine.counters,
        )

    def close(self) -> None:
        """Let the server's connection go."""
        self.page.close()

    def _run_of(self, marks: RunMarks) -> _Run:
        """The run that the marks name, said anew only where they differ."""
        if self._run is None or self._run.marks != marks:
            self._run = _Run(marks, marks.run_id(self.target.instance), marks.started_at())
        return self._run

    def _name_once(self, read: PageReading) -> None:
        """Warn of what was not read when it begins, not at every scrape while it lasts."""
        for trouble in sorted(read.troubles - self.troubles):
            log.warning("%s: %s", self.page, trouble)
        self.troubles = read.troubles
