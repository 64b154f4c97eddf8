"""Chunks of work over several connections at once: what one waits for the database to do, another
prepares."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

C = TypeVar("C")


async def side_by_side(
    chunks: Iterable[C], works: Sequence[Callable[[C], Awaitable[None]]]
) -> None:
    """Have each chunk done by whichever of the works comes to it first.

    The first error ends them all, each behind the chunk it is at.
    """
    left = iter(chunks)
    ended = await asyncio.gather(*(_go(left, work) for work in works), return_exceptions=True)
    for each in ended:
        if each is not None:
            raise each


async def _go(left: Iterator[C], work: Callable[[C], Awaitable[None]]) -> None:
    try:
        for chunk in left:
            await work(chunk)
    except BaseException:
        for _ in left:
            pass
        raise
