"""Bodies handed to the process that stores them, and what became of each, over one connection.

Those that come in one round of the loop go in one frame, and what became of them comes back as they
are stored. Where the process ends, whoever waits is told to send again: what was stored is a
duplicate then.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from ledger import metrics
from ledger.domain.errors import UnavailableError
from ledger.domain.metering.record import Record, RecordOutcome
from ledger.store.passing import passes_by_itself

# It may be starting, for the first time or again.
START_S = 15
RETRY_S = 0.1
LENGTH_BYTES = 4
AGAIN = "Send it again: what was stored is not stored twice."
log = logging.getLogger(__name__)
T = TypeVar("T")


class HandedOver(msgspec.Struct, array_like=True):
    """A body to be stored, under a number that its answer comes back with."""

    number: int
    record: Record


class HandedBack(msgspec.Struct, array_like=True):
    """What became of a body; else why it was not stored, where that `passes` or another knows."""

    number: int
    outcome: RecordOutcome | None = None
    wrong: str = ""
    passes: bool = False


class StoringError(Exception):
    """A body was not stored, for a reason that the log of the other process has."""


class Store(Protocol):
    """Whatever stores bodies."""

    async def store(self, record: Record) -> RecordOutcome:
        """What became of a body; raises what `ingest` raises."""


@dataclass(slots=True)
class FarIntake:
    """Asks the process that listens on `socket`, which may take `start_s` seconds to come."""

    socket: Path
    start_s: float = START_S
    _numbers: int = 0
    _asked: dict[int, "asyncio.Future[RecordOutcome]"] = field(default_factory=dict)
    _coming: list[HandedOver] = field(default_factory=list)
    _writer: asyncio.StreamWriter | None = None
    _reading: "asyncio.Task[None] | None" = None
    _connecting: "asyncio.Task[None] | None" = None

    async def store(self, record: Record) -> RecordOutcome:
        """What became of a body; UnavailableError where the other process ended or is away."""
        await self._connected(self.start_s)
        loop = asyncio.get_running_loop()
        self._numbers += 1
        outcome: asyncio.Future[RecordOutcome] = loop.create_future()
        self._asked[self._numbers] = outcome
        if not self._coming:
            loop.call_soon(self._send)
        self._coming.append(HandedOver(self._numbers, record))
        return await outcome

    async def ready(self) -> None:
        """UnavailableError where the other process cannot be reached."""
        await self._connected(RETRY_S)

    async def close(self) -> None:
        """Let the connection go; nobody waits for an answer."""
        for task in (self._connecting, self._reading):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _connected(self, wait_s: float) -> None:
        """Wait until the other process is reached, which is tried by one for all who wait.

        UnavailableError after `wait_s` seconds of one's own, however many wait.
        """
        until = time.monotonic() + wait_s
        while not self._is_connected() and (left := until - time.monotonic()) > 0:
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.create_task(self._connect())
            await asyncio.wait([self._connecting], timeout=left)
        if not self._is_connected():
            raise UnavailableError("The process that stores events does not answer.", AGAIN)

    def _is_connected(self) -> bool:
        return self._writer is not None

    async def _connect(self) -> None:
        for _ in range(max(1, round(self.start_s / RETRY_S))):
            try:
                reader, self._writer = await asyncio.open_unix_connection(str(self.socket))
            except OSError:
                await asyncio.sleep(RETRY_S)
            else:
                self._reading = asyncio.create_task(self._read(reader, self._writer))
                return

    def _send(self) -> None:
        coming, self._coming = self._coming, []
        if self._writer is not None:
            self._writer.write(_framed(coming))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for answers in _frames(reader, list[HandedBack]):
                self._answer(answers)
        except OSError:
            log.debug("the connection to the process that stores events broke", exc_info=True)
        finally:
            writer.close()
            self._writer = None
            waiting, self._asked = self._asked, {}
            for outcome in waiting.values():
                if not outcome.done():
                    outcome.set_exception(
                        UnavailableError("The process that stores events ended.", AGAIN)
                    )

    def _answer(self, answers: Iterable[HandedBack]) -> None:
        outcomes = [answer.outcome for answer in answers if answer.outcome is not None]
        if outcomes:
            metrics.count_outcomes(outcomes, "http")
        for answer in answers:
            waiting = self._asked.pop(answer.number, None)
            if waiting is None or waiting.done():
                continue
            if answer.outcome is not None:
                waiting.set_result(answer.outcome)
            elif answer.passes:
                waiting.set_exception(UnavailableError(answer.wrong, "Send the request again."))
            else:
                waiting.set_exception(StoringError(answer.wrong))


@asynccontextmanager
async def far_intake(socket: Path, *, start_s: float = START_S) -> AsyncIterator[FarIntake]:
    """An intake that hands everything to the process that listens there."""
    intake = FarIntake(socket, start_s)
    try:
        yield intake
    finally:
        await intake.close()


@dataclass(slots=True)
class _Asking:
    """One connection, as the process that stores sees it."""

    store: Store
    writer: asyncio.StreamWriter
    tasks: set["asyncio.Task[None]"]
    _done: list[HandedBack] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader) -> None:
        async for asked in _frames(reader, list[HandedOver]):
            for record in asked:
                task = asyncio.create_task(self._answer(record))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    async def _answer(self, asked: HandedOver) -> None:
        try:
            handed_back = HandedBack(asked.number, await self.store.store(asked.record))
        except Exception as error:
            handed_back = HandedBack(asked.number, None, *_why(error))
        if not self._done:
            asyncio.get_running_loop().call_soon(self._send)
        self._done.append(handed_back)

    def _send(self) -> None:
        done, self._done = self._done, []
        if not self.writer.is_closing():
            self.writer.write(_framed(done))


async def serve_intake(store: Store, socket: Path, ended: asyncio.Event) -> None:
    """Store what comes over the socket until told to end; what was taken is answered first."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Asking(store, writer, tasks).serve(reader)
        except OSError:
            log.debug("a connection broke", exc_info=True)
        finally:
            writer.close()

    socket.unlink(missing_ok=True)
    listening = await asyncio.start_unix_server(serve, str(socket))
    try:
        await ended.wait()
        if tasks:
            await asyncio.wait(tasks)
    finally:
        listening.close()


def _why(error: Exception) -> tuple[str, bool]:
    if isinstance(error, UnavailableError):
        return error.wrong, True
    if passes_by_itself(error):
        return "The database cannot answer now.", True
    log.error("a body was not stored", exc_info=error)
    return f"{type(error).__name__} while a body was stored", False


def _framed(value: object) -> bytes:
    packed = msgspec.msgpack.encode(value)
    return len(packed).to_bytes(LENGTH_BYTES, "big") + packed


async def _frames(reader: asyncio.StreamReader, kind: type[T]) -> AsyncIterator[T]:
    decoder = msgspec.msgpack.Decoder(kind)
    while True:
        try:
            length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
            packed = await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return
        yield decoder.decode(packed)
