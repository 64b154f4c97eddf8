"""Batches of one process claim in order and move in order, whatever becomes of the one before."""

import asyncio

import pytest

from ledger.flows.metering.commit_order import CommitAfter, IdLostError
from tests.support.waiting import PATIENCE_S


async def test_a_batch_moves_only_when_the_one_before_is_done() -> None:
    lock = asyncio.Lock()
    first = CommitAfter(lock)
    second = CommitAfter(lock, first)
    moving = asyncio.create_task(second.moving())
    await asyncio.sleep(0)
    assert not moving.done()
    first.finish()
    await asyncio.wait_for(moving, PATIENCE_S)


async def test_a_batch_that_claims_anew_sends_back_the_one_behind_it() -> None:
    lock = asyncio.Lock()
    first = CommitAfter(lock)
    second = CommitAfter(lock, first)
    first.start_again()
    with pytest.raises(IdLostError):
        await asyncio.wait_for(second.moving(), PATIENCE_S)
    taking_ids = asyncio.create_task(_claim(second))
    await asyncio.sleep(0)
    assert not taking_ids.done()
    first.finish()
    await asyncio.wait_for(taking_ids, PATIENCE_S)


async def test_claims_are_made_in_the_order_of_batches_whichever_comes_first() -> None:
    lock = asyncio.Lock()
    first = CommitAfter(lock)
    second = CommitAfter(lock, first)
    overtaking = asyncio.create_task(_claim(second))
    await asyncio.sleep(0)
    assert not overtaking.done()
    await asyncio.wait_for(_claim(first), PATIENCE_S)
    await asyncio.wait_for(overtaking, PATIENCE_S)

    third = CommitAfter(lock, second)
    fourth = CommitAfter(lock, third)
    overtaking = asyncio.create_task(_claim(fourth))
    with pytest.raises(IdLostError):
        async with third.taking_ids():
            raise IdLostError
    await asyncio.sleep(0)
    assert not overtaking.done(), "claims that failed are none: the batch comes to claim again"
    await asyncio.wait_for(_claim(third), PATIENCE_S)
    await asyncio.wait_for(overtaking, PATIENCE_S)


async def test_claims_are_made_one_after_the_other() -> None:
    lock = asyncio.Lock()
    first = CommitAfter(lock)
    second = CommitAfter(lock, first)
    async with first.taking_ids():
        taking_ids = asyncio.create_task(_claim(second))
        await asyncio.sleep(0)
        assert not taking_ids.done()
    await asyncio.wait_for(taking_ids, PATIENCE_S)


async def _claim(turn: CommitAfter) -> None:
    async with turn.taking_ids():
        pass
