"""An event loop whose time passes only when nothing else can happen, and processes that live in it.

The order of things is that of a seed: what takes a moment takes one that chance says.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(Exception):
    """Everybody waits for somebody, and nothing will ever happen."""


class _NoSelector:
    """Waits by moving the clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        """Nothing ever arrives from outside."""
        if timeout is None:
            raise StuckError
        self.now += timeout
        return []

    def get_map(self) -> dict[Any, Any]:
        """No file is watched."""
        return {}

    def close(self) -> None:
        """Nothing is held."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, but for its clock and its files."""

    def __init__(self) -> None:
        self._clock = _NoSelector()
        super().__init__(self._clock)  # type: ignore[arg-type]

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._clock.now

    def _make_self_pipe(self) -> None:
        """Nobody calls from another thread."""

    def _close_self_pipe(self) -> None:
        """There is none."""


@dataclass(eq=False)
class Process:
    """One worker's process: it can be frozen, and it can be killed in the middle of anything."""

    name: str
    chance: Random
    dead: bool = False
    over: bool = False
    frozen_until: float = 0.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def alive(self) -> None:
        """Goes on when the process does; where it was killed nothing comes after."""
        loop = asyncio.get_running_loop()
        if self.over:
            raise asyncio.CancelledError
        while not self.dead and loop.time() < self.frozen_until:
            await asyncio.sleep(self.frozen_until - loop.time())
        if self.dead:
            await loop.create_future()

    async def spend(self, most_s: float) -> None:
        """Take a while."""
        await self.alive()
        await asyncio.sleep(self.chance.random() * most_s)
        await self.alive()


async def settled(waiting: Awaitable[T]) -> T:
    """What somebody else works on, whether or not who waits for it is cancelled."""
    return await asyncio.shield(waiting)
