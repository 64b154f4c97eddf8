"""Work on rows beside the loop, where they are many."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
# Fewer are done sooner than another thread has begun, and on a busy machine much sooner.
FEW_ROWS = 100


async def beside(rows: int, work: Callable[P, T], *args: P.args, **given: P.kwargs) -> T:
    """What `work` gives, in a thread of its own unless it has few rows."""
    if rows <= FEW_ROWS:
        return work(*args, **given)
    return await asyncio.to_thread(work, *args, **given)
