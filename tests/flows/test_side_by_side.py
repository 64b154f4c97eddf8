"""Chunks over several connections: each once, and an error ends all behind their chunk."""

import asyncio

import pytest

from ledger.flows.side_by_side import side_by_side


async def test_each_chunk_is_done_once_by_whoever_is_free() -> None:
    done: dict[str, list[int]] = {"slow": [], "fast": []}

    async def work(name: str, chunk: int) -> None:
        await asyncio.sleep(0.02 if name == "slow" else 0)
        done[name].append(chunk)

    await side_by_side(range(10), [lambda n: work("slow", n), lambda n: work("fast", n)])
    assert sorted(done["slow"] + done["fast"]) == list(range(10))
    assert len(done["fast"]) > len(done["slow"]) > 0


async def test_the_first_error_ends_all_behind_their_chunks() -> None:
    done: list[int] = []

    async def fail(chunk: int) -> None:
        await asyncio.sleep(0)
        raise ValueError(chunk)

    async def work(chunk: int) -> None:
        await asyncio.sleep(0.01)
        done.append(chunk)

    with pytest.raises(ValueError, match="0"):
        await side_by_side(range(10), [fail, work])
    assert done == [1]
