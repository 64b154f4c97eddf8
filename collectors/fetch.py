"""A page fetched over HTTP again and again: kept-alive, authenticated, bounded in time and size."""

import base64
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from collectors.errors import CollectSettingsError, HttpError, ScrapeError
from collectors.http1 import OK, Connection, Reply
from ledger.wire.secrets import keep_secret

if TYPE_CHECKING:
    from ssl import SSLContext

PAGE_BYTES_MAX = 16 * 1024 * 1024
ACCEPT = "text/plain;version=0.0.4"
OPENMETRICS = "application/openmetrics-text"
PROTOBUF = "protobuf"
PROCESS_START = "process-start-time-unix"
SCHEMES = frozenset({"http", "https"})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX = 3
BEARER_CHARS_MAX = 16 * 1024


def shown(url: str | SplitResult) -> str:
    """An address as it may be said: without a password, and without what its query holds."""
    try:
        address = urlsplit(url) if isinstance(url, str) else url
    except ValueError:
        return "(no address)"
    host = address.netloc.rpartition("@")[2]
    return f"{address.scheme}://{host}{address.path}{'?…' if address.query else ''}"


def read_address(url: str) -> SplitResult:
    """The parts of an http(s) URL; CollectSettingsError, which never says it, where it is none."""
    try:
        address = urlsplit(url)
        if address.scheme in SCHEMES and address.hostname and address.port != 0:
            return address
    except ValueError:
        pass
    raise CollectSettingsError("a target's url is no address; write http(s)://host:port[/path]")


@dataclass(slots=True)
class Page:
    """Where a page is, who asks for it, and the connection that is kept between two times.

    `process_started` is what the last answer's header said of the server's start (llama.cpp).
    """

    address: SplitResult
    context: "SSLContext | None" = None
    bearer_file: Path | None = None
    process_started: str | None = None
    _open: Connection | None = None

    def fetch(self, timeout_s: float) -> str:
        """The page's text; ScrapeError where there is none, it is cut short, too long or late."""
        until = time.monotonic() + timeout_s
        headers = {"Accept": ACCEPT, **self._credentials()}
        url = self.address
        reply = self._get(url, headers, until)
        for _ in range(REDIRECTS_MAX):
            if reply.status not in REDIRECTS:
                break
            there = reply.headers.get("location", "")
            url = self._next(url, there, secret="Authorization" in headers)
            reply = self._get(url, headers, until)
        body = self._unpacked(reply)
        if reply.status != OK or len(body) > PAGE_BYTES_MAX:
            raise ScrapeError(
                f"{self}: answered {reply.status} with {len(body)} bytes; "
                "check the path and that metrics are switched on"
            )
        self.process_started = reply.headers.get(PROCESS_START)
        return self._text(body, reply.headers)

    def close(self) -> None:
        """Let the connection go."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __str__(self) -> str:
        return shown(self.address)

    def _credentials(self) -> dict[str, str]:
        if self.bearer_file is not None:
            return {"Authorization": f"Bearer {self._bearer(self.bearer_file)}"}
        if self.address.username is None:
            return {}
        pair = f"{unquote(self.address.username)}:{unquote(self.address.password or '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    def _bearer(self, file: Path) -> str:
        """The token as the file has it now: whoever makes it makes it anew at times."""
        try:
            token = file.read_text(encoding="ascii")[:BEARER_CHARS_MAX].strip()
        except (OSError, ValueError) as error:
            raise ScrapeError(f"{self}: no token in {file}: {type(error).__name__}") from None
        if not token.isprintable() or not token:
            raise ScrapeError(f"{self}: {file} holds no token; write it there, on one line")
        keep_secret(token)
        return token

    def _get(self, url: SplitResult, headers: Mapping[str, str], until: float) -> Reply:
        try:
            server = self._connected(url)
            return server.ask("GET", _path(url), headers, until=until, bytes_max=PAGE_BYTES_MAX)
        except (OSError, HttpError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> ScrapeError:
        return ScrapeError(f"{self}: {type(error).__name__}: {error}; is the server up?")

    def _connected(self, url: SplitResult) -> Connection:
        where = (url.scheme, url.netloc.rpartition("@")[2])
        if self._open is None or (self._open.scheme, self._open.host) != where:
            self.close()
            self._open = Connection(url, self.context)
        return self._open

    def _unpacked(self, reply: Reply) -> bytes:
        """A body as it was before it was packed, at most one byte more than may be read."""
        packed = reply.headers.get("content-encoding", "identity").lower()
        if packed in {"identity", ""}:
            return reply.body
        try:
            return _unpacked(reply.body, packed)
        except (HttpError, zlib.error) as error:
            raise self._failed(error) from error

    def _next(self, url: SplitResult, location: str, *, secret: bool) -> SplitResult:
        """Where a redirect leads: a server may move its page, not hand us or our secret on."""
        there = urlsplit(urljoin(url.geturl(), location))
        own = there.hostname == url.hostname and there.scheme in SCHEMES
        in_clear = url.scheme == "https" and there.scheme == "http"
        elsewhere = secret and there.port != url.port
        if not location or not own or in_clear or elsewhere:
            raise ScrapeError(
                f"{self}: leads to {shown(there)[:100]!r}; name that address as the target"
            )
        return there

    def _text(self, body: bytes, headers: Mapping[str, str]) -> str:
        media_type = headers.get("content-type", "")
        if PROTOBUF in media_type:
            raise ScrapeError(f"{self}: answers in protobuf; have it answer {ACCEPT}")
        text = body.decode("utf-8-sig", errors="replace")
        if OPENMETRICS in media_type:
            if text.rstrip().rpartition("\n")[2] != "# EOF":
                raise ScrapeError(f"{self}: cut short: an OpenMetrics page ends with # EOF")
        elif not _said_how_long(headers) and not text.endswith("\n"):
            raise ScrapeError(f"{self}: cut short in its last line")
        return text


def _said_how_long(headers: Mapping[str, str]) -> bool:
    return "content-length" in headers or "transfer-encoding" in headers


def _path(url: SplitResult) -> str:
    path = url.path or "/"
    return f"{path}?{url.query}" if url.query else path


def _unpacked(body: bytes, packed: str) -> bytes:
    if packed not in {"gzip", "x-gzip"}:
        raise HttpError(f"packed as {packed[:20]}, which nobody asked for")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    text = unpacker.decompress(body, PAGE_BYTES_MAX + 1)
    if not unpacker.eof and len(text) <= PAGE_BYTES_MAX:
        raise HttpError("the gzip ends before its end")
    return text
