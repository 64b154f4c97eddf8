"""HTTP/1.1 as a collector needs it: requests one after the other on a kept connection, each answer
whole or an error, within a bound of time and of size.

The standard library's client reads heads with a parser of mails and loads TLS where nobody uses it:
5 MiB of a GPU host's memory, and half of the time that a scrape takes.
"""

import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult

from collectors.errors import HttpError
from collectors.tls import client_context

if TYPE_CHECKING:
    from ssl import SSLContext

OK = 200
LINE_BYTES_MAX, HEADERS_MAX = 64 * 1024, 200
RECEIVE_BYTES = 64 * 1024
PORTS = {"http": 80, "https": 443}
NO_BODY = frozenset({204, 304})
_STATUS = re.compile(rb"HTTP/1\.([0-9]) +([1-9][0-9]{2})(?: +(.*))?")
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_HEX = re.compile(rb"[0-9A-Fa-f]{1,15}")
_BREAKS_A_HEAD = re.compile(r"[\x00-\x1f\x7f]|[^\x00-\xff]")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its headers by lower-case name, and its body, longer than asked for where it is
    longer than may be read."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """To one server, opened when first used; `context` is for https, made where it is not given.

    Raises OSError where the server cannot be reached, is too slow or goes away, HttpError where
    what it says is no HTTP or has no end.
    """

    def __init__(self, url: SplitResult, context: "SSLContext | None" = None) -> None:
        self.scheme, self.host = url.scheme, url.netloc.rpartition("@")[2]
        self._address = (url.hostname or "", url.port or PORTS[url.scheme])
        self._context = context
        self._socket: socket.socket | None = None

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        body: bytes = b"",
        until: float,
        bytes_max: int,
    ) -> Reply:
        """One request and its answer by `until` of the monotonic clock, of so many bytes."""
        request = self._request(method, path, headers, body)
        kept = self._socket is not None
        try:
            return self._exchange(request, until, bytes_max)
        except ConnectionError:
            # A server may let go of a connection between two requests.
            if not kept:
                raise
        return self._exchange(request, until, bytes_max)

    def close(self) -> None:
        """Let the server go."""
        held, self._socket = self._socket, None
        if held is not None:
            held.close()

    def _exchange(self, request: bytes, until: float, bytes_max: int) -> Reply:
        try:
            if self._socket is None:
                self._socket = self._opened(_left_s(until))
            unsent = _send(self._socket, request, until)
            try:
                reply, goes_on = _read(_Incoming(self._socket, until), bytes_max)
            except (OSError, HttpError) as error:
                raise unsent or error from error
        except BaseException:
            self.close()
            raise
        if unsent is not None or not goes_on:
            self.close()
        return reply

    def _opened(self, timeout_s: float) -> socket.socket:
        plain = socket.create_connection(self._address, timeout_s)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.scheme != "https":
                return plain
            self._context = self._context or client_context()
            return self._context.wrap_socket(plain, server_hostname=self._address[0])
        except BaseException:
            plain.close()
            raise

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        told = {"Host": self.host, "Accept-Encoding": "identity", **headers}
        if body:
            told["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {of}" for name, of in told.items())]
        if " " in path or any(map(_BREAKS_A_HEAD.search, lines)):
            raise HttpError("an address or header has a character that no request can carry")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@dataclass(slots=True)
class _Incoming:
    """Bytes as they come, and how many of them have been read."""

    socket: socket.socket
    until: float
    data: bytearray = field(default_factory=bytearray)
    at: int = 0

    def more(self) -> bool:
        """Wait for some more; false at the end."""
        self.socket.settimeout(_left_s(self.until))
        some = self.socket.recv(RECEIVE_BYTES)
        if self.at > RECEIVE_BYTES:
            del self.data[: self.at]
            self.at = 0
        self.data += some
        return bool(some)

    def line(self) -> bytes:
        """The next line without its end."""
        while (end := self.data.find(b"\n", self.at)) < 0:
            if len(self.data) - self.at > LINE_BYTES_MAX:
                raise HttpError("a line of the answer has no end")
            if not self.more():
                raise _cut_short() if self.data else ConnectionResetError("went without an answer")
        line, self.at = bytes(self.data[self.at : end]), end + 1
        return line.removesuffix(b"\r")

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self.data) - self.at < size:
            if not self.more():
                raise _cut_short()
        self.at += size
        return bytes(self.data[self.at - size : self.at])

    def rest(self, bytes_max: int) -> bytes:
        """All until the end, or some more than may be read."""
        while len(self.data) - self.at <= bytes_max and self.more():
            pass
        self.at, began = len(self.data), self.at
        return bytes(self.data[began:])


def _send(to: socket.socket, request: bytes, until: float) -> ConnectionError | None:
    """Why not all of it was taken: a server may answer a body that it will not read."""
    to.settimeout(_left_s(until))
    try:
        to.sendall(request)
    except ConnectionError as error:
        return error
    return None


def _read(incoming: _Incoming, bytes_max: int) -> tuple[Reply, bool]:
    """The answer, and whether the connection can take another request."""
    minor, status, reason, headers = _head(incoming)
    while 100 <= status < 200:
        incoming = _Incoming(incoming.socket, incoming.until, incoming.data[incoming.at :])
        minor, status, reason, headers = _head(incoming)
    body, whole = _body(incoming, status, headers, bytes_max)
    said = headers.get("connection", "").lower()
    kept = "close" not in said and (minor != b"0" or "keep-alive" in said)
    goes_on = kept and whole and incoming.at == len(incoming.data)
    return Reply(status, reason, headers, body), goes_on


def _head(incoming: _Incoming) -> tuple[bytes, int, str, dict[str, str]]:
    first = _STATUS.fullmatch(incoming.line())
    if first is None:
        raise HttpError("the answer is no HTTP")
    headers: dict[str, str] = {}
    for _ in range(HEADERS_MAX):
        line = incoming.line()
        if not line:
            break
        name, _colon, value = line.decode("latin-1").partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    else:
        raise HttpError("the head of the answer has no end")
    return first[1], int(first[2]), (first[3] or b"").decode("latin-1"), headers


def _body(
    incoming: _Incoming, status: int, headers: Mapping[str, str], bytes_max: int
) -> tuple[bytes, bool]:
    """The body, and whether its end is known and was reached."""
    if status in NO_BODY:
        return b"", True
    if headers.get("transfer-encoding", "identity").lower() != "identity":
        return _chunks(incoming, headers["transfer-encoding"], bytes_max)
    said = headers.get("content-length")
    if said is None:
        return incoming.rest(bytes_max), False
    if _DIGITS.fullmatch(said) is None:
        raise HttpError(f"the answer is {said[:20]!r} bytes long")
    size = min(int(said), bytes_max + 1)
    return incoming.take(size), size == int(said)


def _chunks(incoming: _Incoming, coding: str, bytes_max: int) -> tuple[bytes, bool]:
    if coding.lower() != "chunked":
        raise HttpError(f"the answer comes as {coding[:20]!r}, which nobody asked for")
    body = bytearray()
    while size := _chunk_size(incoming.line()):
        body += incoming.take(min(size, bytes_max + 1 - len(body)))
        if len(body) > bytes_max:
            return bytes(body), False
        incoming.line()
    while incoming.line():
        # Trailers say nothing that is read here.
        pass
    return bytes(body), True


def _chunk_size(line: bytes) -> int:
    said = line.partition(b";")[0].strip()
    if _HEX.fullmatch(said) is None:
        raise HttpError("the answer's chunks have no size")
    return int(said, 16)


def _left_s(until: float) -> float:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the answer took too long")
    return left_s


def _cut_short() -> HttpError:
    return HttpError("the answer was cut short")
