"""A second loop of the process, in a thread: what works there keeps nobody of the first waiting."""

import asyncio
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
# The loops share an interpreter, and so long one may have to wait for the other: each time it has
# read or written anything. Python's own 5 ms come to a tenth of a second for one small answer.
SWITCH_S = 0.0005


@contextmanager
def own_loop(name: str) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread of this name until left; nothing of it may be at work then."""
    sys.setswitchinterval(SWITCH_S)
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def beside(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives or raises, done in another loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
