"""Reports and issuing run in a process of their own: this asks it, a few at once, and hands it on.

What takes long takes the interpreter as well, whatever thread it runs in; events and health would
wait for it. Requests that wait for a free place are few too, and the rest come again.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httptools

from ledger.api.body import whole_body
from ledger.api.request import ApiRequest
from ledger.api.streaming import Streamed, while_there
from ledger.domain.errors import UnavailableError

REPORTS, FLOWS = "reports", "flows"
# At once, of each kind: they leave half of the machine to events. And how many may wait, how long.
RUNNING_MAX = max(1, (os.cpu_count() or 1) // 2)
WAITING_MAX = 16
WAIT_S = 20
ANSWER_S = 600
# It may be starting, for the first time or again.
START_S = 15
RETRY_S = 0.1
PART_BYTES = 64 * 1024
# What belongs to one connection is not handed on to the next.
OF_CONNECTION = {
    *(b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"expect", b"host"),
    *(b"upgrade", b"te", b"trailer", b"content-encoding", b"x-request-id", b"date", b"server"),
}


def kind_of(request: ApiRequest) -> str | None:
    """Of which kind of work a request is that another process does, or None."""
    said = request.route_handler.opt
    if said.get("previews") and "preview" in request.query_params:
        return FLOWS
    kind: str | None = said.get("apart")
    return kind


@dataclass(slots=True)
class Gate:
    """So many run at once; so many more wait."""

    running: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RUNNING_MAX))
    waiting: int = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place among the running; UnavailableError where too many wait, or too long."""
        if self.waiting >= WAITING_MAX:
            raise self._busy()
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await self.running.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self.running.release()

    @staticmethod
    def _busy() -> UnavailableError:
        return UnavailableError("Too many reports are asked for at once.", "Ask for it again.")


@dataclass(slots=True)
class Apart:
    """The process that listens on `socket`, and a gate for each kind of work it does."""

    socket: Path
    gates: dict[str, Gate] = field(default_factory=lambda: {REPORTS: Gate(), FLOWS: Gate()})

    async def ask(self, request: ApiRequest, kind: str) -> Streamed:
        """The answer of the other process, as it comes; UnavailableError."""
        head = _head(request, await whole_body(request))
        return await while_there(request.receive, self._ask(head, kind))

    async def _ask(self, head: bytes, kind: str) -> Streamed:
        # Whoever reads slowly holds no place: it is computed when the head of the answer is here.
        async with self.gates[kind].slot():
            answer = await self._answer(head)
        return answer.stream()

    async def _answer(self, asked: bytes) -> "_Answer":
        answer = _Answer(*await self._connect())
        try:
            async with asyncio.timeout(ANSWER_S):
                await answer.begin(asked)
        except (OSError, TimeoutError, httptools.HttpParserError) as error:
            answer.close()
            raise UnavailableError("The report was broken off.", "Ask for it again.") from error
        except BaseException:
            answer.close()
            raise
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in range(round(START_S / RETRY_S)):
            try:
                return await asyncio.open_unix_connection(str(self.socket))
            except OSError:
                await asyncio.sleep(RETRY_S)
        raise UnavailableError("The process of reports does not answer.", "Ask for it again.")


class _Answer:
    """An answer on its way: the parser calls its `on_` methods."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._headed = self._complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of it."""
        if name.lower() not in OF_CONNECTION:
            self._headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._headed = True

    def on_body(self, part: bytes) -> None:
        """Some of the body."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Nothing follows."""
        self._complete = True

    async def begin(self, asked: bytes) -> None:
        """Ask, and read until the head of the answer is there."""
        self._writer.write(asked)
        await self._writer.drain()
        while not self._headed:
            await self._read()

    def stream(self) -> Streamed:
        """It as an answer of ours, which reads on as it is read."""
        media_type = self._headers.pop("content-type", "application/octet-stream")
        # What answers puts the charset of a text behind it, once more.
        media_type = media_type.removesuffix("; charset=utf-8")
        status = self._parser.get_status_code()
        return Streamed(
            self._body(), status_code=status, media_type=media_type, headers=self._headers
        )

    async def _body(self) -> AsyncIterator[bytes]:
        try:
            while True:
                for part in self._parts:
                    yield part
                self._parts.clear()
                if self._complete:
                    return
                await self._read()
        finally:
            self.close()

    async def _read(self) -> None:
        part = await self._reader.read(PART_BYTES)
        if not part:
            raise ConnectionError("the process of reports ended")
        self._parser.feed_data(part)

    def close(self) -> None:
        """Let the connection go."""
        self._writer.close()


def _head(request: ApiRequest, body: bytes) -> bytes:
    scope = request.scope
    query = scope["query_string"]
    # Some servers say the query with the path.
    path = scope["raw_path"].partition(b"?")[0]
    lines = [
        b"%s %s%s HTTP/1.1" % (request.method.encode(), path, b"?" + query if query else b""),
        b"host: reports",
        b"connection: close",
        b"content-length: %d" % len(body),
        b"x-request-id: %s" % str(scope.get("request_id", "")).encode(),
        *(
            b"%s: %s" % (name, value)
            for name, value in scope["headers"]
            if name.lower() not in OF_CONNECTION
        ),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
