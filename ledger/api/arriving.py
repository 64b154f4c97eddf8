"""Bodies as they arrive: room is taken for what came, by key, and no sender takes for ever.

A request that is refused is let come in to its end, keeping nothing: who still sends does not read
why it is refused, and would take the closed connection for a failure of the network.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

from litestar.types import (
    ASGIApp,
    HTTPDisconnectEvent,
    HTTPReceiveMessage,
    HTTPRequestEvent,
    Message,
    Receive,
    Scope,
    Send,
)

from ledger.api.problems import (
    BodyTooLargeError,
    BodyTooSlowError,
    MalformedBodyError,
    TooManyBodiesError,
)
from ledger.domain.errors import LedgerError

MIB = 1024 * 1024
# Bodies are read whole: this is what a process may hold of them, whatever their number.
HELD_BYTES_MAX = 64 * MIB
# A body takes more than its bytes.
BODY_BYTES_MIN = 1024
# Who sends nothing for so long has stalled; who sends less than this a second holds the door.
STALLED_S = 10
GRACE_S = 20
BYTES_A_SECOND_MIN = 16 * 1024


@dataclass(slots=True)
class MemoryReservation:
    """Bytes of the bodies being read and stored in this process, in all and by key.

    One key may take three quarters, so that there is room for the others.
    """

    most: int = HELD_BYTES_MAX
    held: int = 0
    by_key: dict[str, int] = field(default_factory=dict)

    @property
    def most_of_key(self) -> int:
        """What bodies of one key may come to."""
        return self.most * 3 // 4

    def take(self, key: str, size: int) -> None:
        """Room for `size` more bytes; TooManyBodiesError where there is none now."""
        own = self.by_key.get(key, 0) + size
        if own > self.most_of_key or self.held + size > self.most:
            whose = " of this key" if own > self.most_of_key else ""
            raise TooManyBodiesError(
                f"Too many bodies{whose} are being stored.",
                "Send it again after Retry-After seconds.",
            )
        self.held += size
        self.by_key[key] = own

    def give(self, key: str, size: int) -> None:
        """Give room back."""
        self.held -= size
        self.by_key[key] -= size
        if not self.by_key[key]:
            del self.by_key[key]


class Arriving:
    """One body on its way in; `Room` is taken under the key of its sender."""

    def __init__(self, receive: Receive, memory: MemoryReservation, *, most: int) -> None:
        self._receive, self._memory, self.most = receive, memory, most
        self.key, self._held, self.came = "", 0, 0
        self._began: float | None = None
        self.over = self.broken = False

    def of(self, key_id: str) -> None:
        """Whose body it is; said before any of it is read."""
        self.key = key_id

    async def receive(self) -> HTTPReceiveMessage:
        """The next part; TooManyBodiesError, BodyTooSlowError, BodyTooLargeError, or
        MalformedBodyError where the connection ends first."""
        if self.over:
            return cast(HTTPReceiveMessage, await self._receive())
        part = await self._next()
        if self.broken:
            raise MalformedBodyError("The connection ended before the body.", "Send it whole.")
        self.grow(max(len(part["body"]), 0 if self._held else BODY_BYTES_MIN))
        return part

    def grow(self, size: int) -> None:
        """Take room for `size` bytes more, as of a body that is unpacked; less, where negative."""
        if size > 0:
            self._memory.take(self.key, size)
        elif size < 0:
            self._memory.give(self.key, -size)
        self._held += size

    async def pass_over(self) -> None:
        """Let the rest come in, as far as it is neither too much nor too slow, and keep nothing."""
        self.end()
        try:
            while not (self.over or self.broken):
                await self._next()
        except LedgerError:
            self.broken = True

    def end(self) -> None:
        """Give back what it held."""
        if self._held:
            self.grow(-self._held)

    def leave(self) -> None:
        """Hold nothing any more, and know nothing of the connection, which knows this: the two
        would stay until somebody looks for garbage."""
        self.end()
        self._receive = _nothing_comes

    async def _next(self) -> HTTPRequestEvent:
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        latest = self._began + GRACE_S + self.came / BYTES_A_SECOND_MIN
        try:
            async with asyncio.timeout(min(STALLED_S, max(latest - now, 0))):
                part = await self._receive()
        except TimeoutError:
            self.broken = True
            raise BodyTooSlowError(
                f"{self.came} bytes of the body came, and then too little for too long.",
                f"Send it within {GRACE_S} seconds, or {BYTES_A_SECOND_MIN} bytes a second.",
            ) from None
        if part["type"] != "http.request":
            self.broken = True
            return {"type": "http.request", "body": b"", "more_body": False}
        self.came += len(part["body"])
        self.over = not part.get("more_body", False)
        if self.came > self.most:
            self.broken = True
            raise BodyTooLargeError(
                f"The body has more than {self.most} bytes.", "Send smaller batches."
            )
        return part


async def _nothing_comes() -> HTTPDisconnectEvent:
    return {"type": "http.disconnect"}


class Entrance:
    """What every request with a body comes through."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["litestar_app"].state.ledger
        arriving = Arriving(receive, state.memory, most=state.limits.body_bytes_max)
        scope["arriving"] = arriving  # type: ignore[typeddict-unknown-key]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                # A stranger's body is not waited for.
                if "caller" in scope:
                    await arriving.pass_over()
                if not arriving.over:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self.app(scope, arriving.receive, answer)
        finally:
            arriving.leave()
            if arriving.key:
                state.quotas.spend(arriving.key, arriving.came)
