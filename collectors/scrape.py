"""One inference server's exposition fetched over HTTP and read by its engine."""

import http.client
import logging
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from email.message import Message
from urllib.parse import SplitResult, urljoin, urlsplit

from collectors.engines import ENGINES
from collectors.engines.counters import EngineMap
from collectors.errors import CollectSettingsError, ScrapeError
from collectors.exposition import Exposition, parse_exposition
from collectors.reading import CountersReading
from collectors.settings import ScrapeTarget

EXPOSITION_BYTES_MAX = 16 * 1024 * 1024
ACCEPT = "text/plain;version=0.0.4"
SCHEMES = frozenset({"http", "https"})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX = 3
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Scraper:
    """A target with its engine and its address, checked before the first scrape."""

    target: ScrapeTarget
    engine: EngineMap
    address: SplitResult
    _named: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, target: ScrapeTarget) -> "Scraper":
        """Refuse a target that names no known engine or no HTTP address."""
        engine = ENGINES.get(target.engine)
        if engine is None:
            known = ", ".join(ENGINES)
            raise CollectSettingsError(
                f"target {target.url}: no engine {target.engine!r}; use one of {known}"
            )
        address = urlsplit(target.url)
        if address.scheme not in SCHEMES or not address.hostname:
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
        url = self.address._replace(path=self._path())
        status, headers, body = self._get(url, timeout_s)
        for _ in range(REDIRECTS_MAX):
            if status not in REDIRECTS:
                break
            url = self._next(url, headers.get("Location", ""))
            status, headers, body = self._get(url, timeout_s)
        if status != http.client.OK or len(body) > EXPOSITION_BYTES_MAX:
            raise ScrapeError(
                f"{self.target.url}: answered {status} with {len(body)} bytes; "
                "check the path and that metrics are switched on"
            )
        return body.decode("utf-8", errors="replace")

    def _get(self, url: SplitResult, timeout_s: float) -> tuple[int, Message, bytes]:
        connection = _connect(url, timeout_s)
        path = f"{url.path}?{url.query}" if url.query else url.path
        try:
            connection.request("GET", path, headers={"Accept": ACCEPT})
            reply = connection.getresponse()
            body = reply.read(EXPOSITION_BYTES_MAX + 1)
            return reply.status, reply.headers, _unpacked(body, reply.headers)
        except (OSError, http.client.HTTPException, zlib.error) as error:
            raise ScrapeError(f"{self.target.url}: {error!r}; is the server up?") from error
        finally:
            connection.close()

    def _next(self, url: SplitResult, location: str) -> SplitResult:
        """Where a redirect leads; a server may move its page, not hand us to another host."""
        there = urlsplit(urljoin(url.geturl(), location))
        if not location or there.hostname != url.hostname or there.scheme not in SCHEMES:
            raise ScrapeError(
                f"{self.target.url}: leads to {location[:100]!r}; name that address as the target"
            )
        return there

    def _path(self) -> str:
        return self.address.path if self.address.path not in {"", "/"} else self.engine.path


def _connect(url: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return kind(url.hostname or "", url.port, timeout=timeout_s)


def _unpacked(body: bytes, headers: Message) -> bytes:
    """A body as it was before it was packed, at most one byte more than may be read."""
    if headers.get("Content-Encoding", "").strip().lower() not in {"gzip", "x-gzip"}:
        return body
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, EXPOSITION_BYTES_MAX + 1)
