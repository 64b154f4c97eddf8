"""Answers that are sent as they are read: few at once, not for long, while somebody reads them.

An error in the middle ends the connection before the end of the answer, so that no client takes
what came for the whole.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Scope, Send

from ledger.api.headers import disposition
from ledger.api.problems import TooManyReportsError
from ledger.domain.errors import LedgerError, UnavailableError

T = TypeVar("T")
# Each has a connection, a snapshot and a cursor for as long as its reader takes.
STREAMS_MAX = 4
STREAMS_OF_KEY_MAX = 2
STREAM_S = 600


class ClientLeftError(UnavailableError):
    """Nobody waits for the answer any more."""


@dataclass(slots=True)
class Streams:
    """How many answers are being sent from a cursor, in all and by key."""

    by_key: "Counter[str]" = field(default_factory=Counter)

    @contextmanager
    def slot(self, key_id: str) -> Iterator[None]:
        """A place among them; TooManyReportsError where a key has its share, UnavailableError."""
        if self.by_key[key_id] >= STREAMS_OF_KEY_MAX:
            raise TooManyReportsError(
                f"{STREAMS_OF_KEY_MAX} reports are being sent to this key.",
                "Ask again when one has ended.",
            )
        if self.by_key.total() >= STREAMS_MAX:
            raise UnavailableError("Too many reports are being sent.", "Ask for it again.")
        self.by_key[key_id] += 1
        try:
            yield
        finally:
            self.by_key[key_id] -= 1
            if not self.by_key[key_id]:
                del self.by_key[key_id]


class Streamed(Stream):
    """A stream that ends with its reader, or when it has taken longer than `end_s` seconds."""

    def __init__(self, *given: Any, end_s: int = STREAM_S, **named: Any) -> None:
        super().__init__(*given, **named)
        self._end_s = end_s

    def to_asgi_response(self, *given: Any, **named: Any) -> ASGIResponse:
        """Itself, as it is sent."""
        made = super().to_asgi_response(*given, **named)
        return cast(ASGIResponse, _Sending(cast(ASGIStreamingResponse, made), self._end_s))


@dataclass(slots=True)
class _Sending:
    answer: ASGIStreamingResponse
    end_s: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        with suppress(ClientLeftError):
            async with asyncio.timeout(self.end_s):
                await while_there(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        async with aclosing(cast(AsyncGenerator[bytes, None], self.answer.iterator)) as parts:
            # What goes wrong before the first part is a problem like any other.
            part: bytes | None = await anext(parts, b"")
            await self.answer.start_response(send)
            while part is not None:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                part = await anext(parts, None)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def attached(parts: AsyncIterator[bytes], media_type: str, filename: str) -> Streamed:
    """A file, sent as it is read."""
    headers = {"Content-Disposition": disposition("attachment", filename)}
    return Streamed(parts, media_type=media_type, headers=headers)


async def while_there(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives while the client stays; ClientLeftError, and it is let go, where not."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_leave(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeftError("The client went away.")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


async def _leave(receive: Receive) -> None:
    # A connection that ends before its body did has left as well.
    with suppress(LedgerError):
        while (await receive())["type"] != "http.disconnect":
            pass
