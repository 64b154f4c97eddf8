"""A page fetched over HTTP again and again: kept-alive, authenticated, bounded in time and size."""

import base64
import http.client
import io
import socket
import ssl
import time
import zlib
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from collectors.errors import CollectSettingsError, ScrapeError
from ledger.wire.secrets import keep_secret

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PAGE_BYTES_MAX = 16 * 1024 * 1024
ACCEPT = "text/plain;version=0.0.4"
OPENMETRICS = "application/openmetrics-text"
PROCESS_START = "Process-Start-Time-Unix"
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
    context: ssl.SSLContext | None = None
    bearer_file: Path | None = None
    process_started: str | None = None
    _open: http.client.HTTPConnection | None = None
    _opened: tuple[str, str] = ("", "")

    def fetch(self, timeout_s: float) -> str:
        """The page's text; ScrapeError where there is none, it is cut short, too long or late."""
        until = time.monotonic() + timeout_s
        headers = {"Accept": ACCEPT, **self._credentials()}
        url = self.address
        status, answered, body = self._get(url, headers, until)
        for _ in range(REDIRECTS_MAX):
            if status not in REDIRECTS:
                break
            url = self._next(url, answered.get("Location", ""), secret="Authorization" in headers)
            status, answered, body = self._get(url, headers, until)
        if status != http.client.OK or len(body) > PAGE_BYTES_MAX:
            raise ScrapeError(
                f"{self}: answered {status} with {len(body)} bytes; "
                "check the path and that metrics are switched on"
            )
        self.process_started = answered.get(PROCESS_START)
        return self._text(body, answered)

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

    def _get(
        self, url: SplitResult, headers: dict[str, str], until: float
    ) -> tuple[int, Message, bytes]:
        kept = self._open is not None and self._opened == (url.scheme, url.netloc)
        try:
            return self._answer(url, headers, until)
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            # A server may let go of a connection between two requests.
            if not kept:
                raise self._failed(error) from error
        except (OSError, http.client.HTTPException, zlib.error) as error:
            raise self._failed(error) from error
        try:
            return self._answer(url, headers, until)
        except (OSError, http.client.HTTPException, zlib.error) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> ScrapeError:
        return ScrapeError(f"{self}: {type(error).__name__}: {error}; is the server up?")

    def _answer(
        self, url: SplitResult, headers: dict[str, str], until: float
    ) -> tuple[int, Message, bytes]:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("redirects took too long")
        try:
            connection = self._connected(url, left_s)
            connection.request("GET", _path(url), headers=headers)
            reply = connection.getresponse()
            body = reply.read(PAGE_BYTES_MAX + 1)
            whole = _unpacked(body, reply.headers)
            if reply.length and len(body) <= PAGE_BYTES_MAX:
                raise http.client.IncompleteRead(body, reply.length)
            if not reply.isclosed():
                self.close()
        except BaseException:
            self.close()
            raise
        return reply.status, reply.headers, whole

    def _connected(self, url: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
        where = (url.scheme, url.netloc)
        if self._open is None or self._opened != where or self._open.sock is None:
            self.close()
            host, port = url.hostname or "", url.port
            if url.scheme == "https":
                self._open = http.client.HTTPSConnection(
                    host, port, timeout=timeout_s, context=self.context
                )
            else:
                self._open = http.client.HTTPConnection(host, port, timeout=timeout_s)
            self._open.response_class = _TimedResponse
            self._opened = where
            self._open.connect()
        self._open.sock.settimeout(timeout_s)
        return self._open

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

    def _text(self, body: bytes, headers: Message) -> str:
        text = body.decode("utf-8", errors="replace")
        if OPENMETRICS in headers.get("Content-Type", ""):
            if text.rstrip("\n").rpartition("\n")[2] != "# EOF":
                raise ScrapeError(f"{self}: cut short: an OpenMetrics page ends with # EOF")
        elif not _said_how_long(headers) and not text.endswith("\n"):
            raise ScrapeError(f"{self}: cut short in its last line")
        return text


def _said_how_long(headers: Message) -> bool:
    return "Content-Length" in headers or "Transfer-Encoding" in headers


def _path(url: SplitResult) -> str:
    path = url.path or "/"
    return f"{path}?{url.query}" if url.query else path


def _unpacked(body: bytes, headers: Message) -> bytes:
    """A body as it was before it was packed, at most one byte more than may be read."""
    packed = headers.get("Content-Encoding", "identity").strip().lower()
    if packed in {"identity", ""}:
        return body
    if packed not in {"gzip", "x-gzip"}:
        raise http.client.HTTPException(f"packed as {packed[:20]}, which nobody asked for")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    text = unpacker.decompress(body, PAGE_BYTES_MAX + 1)
    if not unpacker.eof and len(text) <= PAGE_BYTES_MAX:
        raise http.client.HTTPException("the gzip ends before its end")
    return text


class _TimedResponse(http.client.HTTPResponse):
    """A response whose reads together may take what the socket's timeout was at its beginning."""

    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        until = time.monotonic() + (sock.gettimeout() or 0)
        self.fp = io.BufferedReader(_TimedReads(self.fp.detach(), sock, until))


class _TimedReads(io.RawIOBase):
    """Bytes of a socket up to a time: each read on its own could begin the waiting anew."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, until: float) -> None:
        self._raw, self._sock, self._until = raw, sock, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
