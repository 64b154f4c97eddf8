"""Waiting for what another thread, process or session does, on a machine that does much besides."""

import asyncio
import time
from collections.abc import Awaitable, Callable

# What takes a moment may take this long where every core is busy; what never comes fails after it.
PATIENCE_S = 120
LOOK_S = 0.02


def eventually(true: Callable[[], object], what: str = "it") -> None:
    """Ask until it is true; AssertionError where it never is."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"{what}: not in {PATIENCE_S} seconds"
        time.sleep(LOOK_S)


async def until(true: Callable[[], Awaitable[object]], what: str = "it") -> None:
    """`eventually` of what is awaited."""
    end = time.monotonic() + PATIENCE_S
    while not await true():
        assert time.monotonic() < end, f"{what}: not in {PATIENCE_S} seconds"
        await asyncio.sleep(LOOK_S)
