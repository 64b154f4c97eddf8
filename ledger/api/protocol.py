"""The server's side of a connection, with an end to every wait: for a head, and for a reader.

uvicorn ends connections that idle between requests. One that has sent half a head, or that reads no
answer, it keeps for ever; and it takes as many as there are.
"""

import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from ledger.api.headers import HEADERS

HEAD_S = 10
HEAD_BYTES_MAX = 64 * 1024
# Who reads less than this of an answer in so long does not read it.
READER_S = 30
READ_BYTES_MIN = 64 * 1024
# One that is refused may say the rest before it is closed, unless many do.
LINGER_S = 1
LINGERING_MAX = 64
RETRY_AFTER_S = 2
_BEGINS = b"HTTP/1.1 "
DETAILS = {
    400: ("Malformed request", "This is not HTTP/1.1."),
    408: ("Request too slow", f"Send the head of a request within {HEAD_S} seconds."),
    431: ("Head too large", f"Send a head of at most {HEAD_BYTES_MAX} bytes."),
    503: ("Try again later", "There are too many connections; come again, or use one for more."),
}


@dataclass(slots=True)
class Connections:
    """How many connections there may be, in all and from one address, and how many there are."""

    most: int
    most_of_address: int
    by_address: "Counter[str]" = field(default_factory=Counter)
    # Those without a request, by address: who has waited longest comes first.
    waiting: "defaultdict[str, dict[BoundedProtocol, None]]" = field(
        default_factory=lambda: defaultdict(dict)
    )

    def full(self, address: str) -> bool:
        """Whether the last one from there was one too many."""
        return (
            self.by_address[address] > self.most_of_address or self.by_address.total() > self.most
        )

    def crowded(self) -> bool:
        """Whether those that are refused may no longer stay until they have read it."""
        return self.by_address.total() > self.most + LINGERING_MAX

    def evict_idle(self, address: str) -> bool:
        """Whether one without a request gave way to the last one from there.

        One that never sent a whole head goes first; one that asks nothing more next.
        """
        if self.by_address[address] <= self.most_of_address:
            ((address, _),) = self.by_address.most_common(1)
        there = [idle for idle in self.waiting[address] if idle.is_idle()]
        idle = next((idle for idle in there if not idle.asked), next(iter(there), None))
        if idle is not None:
            idle.give_up()
        return idle is not None

    def gone(self, address: str) -> None:
        """One less."""
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]
            self.waiting.pop(address, None)


class WholeAnswers(asyncio.Transport):
    """A connection that sends the head of an answer with what follows: apart they would be two
    calls of the kernel, and wake whoever reads twice."""

    def __init__(self, below: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._below, self._loop, self._head = below, loop, b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it; a head a moment later, with what comes until then."""
        head, self._head = self._head, b""
        if head:
            self._below.writelines((head, data))
        elif bytes(data[: len(_BEGINS)]) == _BEGINS:
            self._head = bytes(data)
            self._loop.call_soon(self._flush)
        else:
            self._below.write(data)

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._below.is_closing():
            self._below.write(head)

    def write_eof(self) -> None:
        """Nothing more comes."""
        self._flush()
        self._below.write_eof()

    def close(self) -> None:
        """End it once all is sent."""
        self._flush()
        self._below.close()

    def abort(self) -> None:
        """End it now."""
        self._below.abort()

    def is_closing(self) -> bool:
        """Whether it ends."""
        return self._below.is_closing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who reads from here on."""
        self._below.set_protocol(protocol)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for its reader."""
        return self._below.get_write_buffer_size() + len(self._head)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    connections_of_server: Connections
    asked = False
    _head: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _reader: asyncio.TimerHandle | None = None
    _address = ""
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = WholeAnswers(transport, self.loop)
        self._address = str((self.client or ("",))[0])
        there = self.connections_of_server
        there.by_address[self._address] += 1
        if there.full(self._address) and not there.evict_idle(self._address):
            self._refuse(503)
        else:
            self._waits()
            self._head = self.loop.call_later(HEAD_S, self.give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._head_ended()
        self.connections_of_server.gone(self._address)
        self._reader = _cancelled(self._reader)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        super().data_received(data)
        asked: RequestResponseCycle | None = self.cycle
        if asked is not None and not asked.response_complete:
            self._head_ended()
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(431)
        elif self._head is None:
            self._head = self.loop.call_later(HEAD_S, self.give_up)

    def on_response_complete(self) -> None:
        self.asked = True
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._waits()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words are not ours
        self._refuse(400)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader(None)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader = _cancelled(self._reader)

    def _waits(self) -> None:
        self.connections_of_server.waiting[self._address][self] = None

    def _head_ended(self) -> None:
        self.connections_of_server.waiting[self._address].pop(self, None)
        self._head, self._head_bytes = _cancelled(self._head), 0

    def is_idle(self) -> bool:
        """Whether nothing is on its way to it."""
        return not self.transport.get_write_buffer_size()

    def give_up(self) -> None:
        """Wait for its head no longer."""
        self.connections_of_server.waiting[self._address].pop(self, None)
        self._head = _cancelled(self._head)
        if self._head_bytes:
            self._refuse(408)
        else:
            self.transport.close()

    def _watch_reader(self, left: int | None) -> None:
        now = self.transport.get_write_buffer_size()
        if left is not None and left - now < READ_BYTES_MIN:
            self.transport.abort()
        else:
            self._reader = self.loop.call_later(READER_S, self._watch_reader, now)

    def _refuse(self, status: int) -> None:
        if self._refused or self.transport.is_closing():
            return
        title, detail = DETAILS[status]
        slug = title.lower().replace(" ", "-")
        problem = {"type": f"urn:tokenledger:problem:{slug}", "title": title}
        body = json.dumps({**problem, "status": status, "detail": detail}).encode()
        said = {
            **HEADERS,
            "Content-Type": "application/problem+json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **({"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}),
        }
        lines = b"".join(f"{name}: {text}\r\n".encode() for name, text in said.items())
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + body)
        self._refused = True
        if self.connections_of_server.crowded():
            self.transport.close()
        else:
            # Closed over what still comes, the connection would be reset and the answer lost.
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.close)


def protocol_of(connections: Connections) -> type[BoundedProtocol]:
    """The protocol of one server, whose connections are counted together."""
    return type("Protocol", (BoundedProtocol,), {"connections_of_server": connections})


def _cancelled(timer: asyncio.TimerHandle | None) -> Any:
    if timer is not None:
        timer.cancel()
