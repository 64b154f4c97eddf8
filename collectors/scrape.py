"""One inference server's exposition fetched over HTTP and read by its engine."""

import http.client
import logging
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import SplitResult, urlsplit

from collectors.engines import ENGINES
from collectors.engines.counters import Engine
from collectors.errors import CollectSettingsError, ScrapeError
from collectors.exposition import Exposition, parse_exposition
from collectors.reading import CountersReading
from collectors.settings import Target

EXPOSITION_BYTES_MAX = 16 * 1024 * 1024
ACCEPT = "text/plain;version=0.0.4"
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Scraper:
    """A target with its engine and its address, checked before the first scrape."""

    target: Target
    engine: Engine
    address: SplitResult
    _named: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, target: Target) -> "Scraper":
        """Refuse a target that names no known engine or no HTTP address."""
        engine = ENGINES.get(target.engine)
        if engine is None:
            known = ", ".join(ENGINES)
            raise CollectSettingsError(
                f"target {target.url}: no engine {target.engine!r}; use one of {known}"
            )
        address = urlsplit(target.url)
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise CollectSettingsError(f"target {target.url!r}: write http(s)://host:port[/path]")
        return cls(target, engine, address)

    def scrape(self, *, now: datetime, timeout_s: float) -> CountersReading:
        """Fetch and read once; raises ScrapeError when there is nothing to count."""
        exposition = parse_exposition(self._fetch(timeout_s))
        read = self.engine.read(exposition)
        self._name_once(exposition, read.left_out)
        if not read.counters:
            raise ScrapeError(
                f"{self.target.url}: answered {len(exposition.samples)} samples and "
                f"{exposition.bad_count} bad lines, no counter of {self.engine.name}; "
                "check the engine's name and that its metrics are switched on"
            )
        return CountersReading(
            engine=self.engine.name,
            instance=self.target.instance,
            run_id=read.marks.run_id(self.target.instance),
            run_started_at=read.marks.started_at(),
            scraped_at=now,
            counters=read.counters,
        )

    def _name_once(self, exposition: Exposition, left_out: tuple[str, ...]) -> None:
        """Warn of what was not read when it begins, not at every scrape while it lasts."""
        bad = {f"line cannot be read: {line.text}" for line in exposition.bad_lines}
        troubles = bad | set(left_out)
        for trouble in sorted(troubles - self._named):
            log.warning("%s: %s", self.target.url, trouble)
        self._named = frozenset(troubles)

    def _fetch(self, timeout_s: float) -> str:
        connection = self._connection(timeout_s)
        try:
            connection.request("GET", self._path(), headers={"Accept": ACCEPT})
            reply = connection.getresponse()
            body = reply.read(EXPOSITION_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            raise ScrapeError(f"{self.target.url}: {error!r}; is the server up?") from error
        finally:
            connection.close()
        if reply.status != http.client.OK or len(body) > EXPOSITION_BYTES_MAX:
            raise ScrapeError(
                f"{self.target.url}: answered {reply.status} with {len(body)} bytes; "
                "check the path and that metrics are switched on"
            )
        return body.decode("utf-8", errors="replace")

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self.address.hostname or "", self.address.port
        kind = (
            http.client.HTTPSConnection
            if self.address.scheme == "https"
            else http.client.HTTPConnection
        )
        return kind(host, port, timeout=timeout_s)

    def _path(self) -> str:
        path = self.address.path if self.address.path not in {"", "/"} else self.engine.path
        return f"{path}?{self.address.query}" if self.address.query else path
