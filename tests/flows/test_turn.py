"""Batches of one process claim in order and move in order, whatever becomes of the one before."""

import asyncio

import pytest

from ledger.flows.metering.turn import ClaimLostError, TurnAfter


async def test_a_batch_moves_only_when_the_one_before_is_done() -> None:
    lock = asyncio.Lock()
    first = TurnAfter(lock)
    second = TurnAfter(lock, first)
    moving = asyncio.create_task(second.moving())
    await asyncio.sleep(0)
    assert not moving.done()
    first.finish()
    await asyncio.wait_for(moving, 1)


async def test_a_batch_that_claims_anew_sends_back_the_one_behind_it() -> None:
    lock = asyncio.Lock()
    first = TurnAfter(lock)
    second = TurnAfter(lock, first)
    first.start_again()
    with pytest.raises(ClaimLostError):
        await asyncio.wait_for(second.moving(), 1)
    claiming = asyncio.create_task(_claim(second))
    await asyncio.sleep(0)
    assert not claiming.done()
    first.finish()
    await asyncio.wait_for(claiming, 1)


async def test_claims_are_made_in_the_order_of_batches_whichever_comes_first() -> None:
    lock = asyncio.Lock()
    first = TurnAfter(lock)
    second = TurnAfter(lock, first)
    overtaking = asyncio.create_task(_claim(second))
    await asyncio.sleep(0)
    assert not overtaking.done()
    await asyncio.wait_for(_claim(first), 1)
    await asyncio.wait_for(overtaking, 1)

    third = TurnAfter(lock, second)
    fourth = TurnAfter(lock, third)
    overtaking = asyncio.create_task(_claim(fourth))
    with pytest.raises(ClaimLostError):
        async with third.claiming():
            raise ClaimLostError
    await asyncio.sleep(0)
    assert not overtaking.done(), "claims that failed are none: the batch comes to claim again"
    await asyncio.wait_for(_claim(third), 1)
    await asyncio.wait_for(overtaking, 1)


async def test_claims_are_made_one_after_the_other() -> None:
    lock = asyncio.Lock()
    first = TurnAfter(lock)
    second = TurnAfter(lock, first)
    async with first.claiming():
        claiming = asyncio.create_task(_claim(second))
        await asyncio.sleep(0)
        assert not claiming.done()
    await asyncio.wait_for(claiming, 1)


async def _claim(turn: TurnAfter) -> None:
    async with turn.claiming():
        pass
