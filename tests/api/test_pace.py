"""Senders go on a few at a time, in the order they came, and others go on between them."""

import asyncio

from ledger.api.pace import FEW, Pace

SENDERS = 50


async def test_others_go_on_between_senders() -> None:
    pace, went, rounds = Pace(), [], 0

    async def send(number: int) -> None:
        await pace.admitted()
        went.append(number)

    senders = [asyncio.create_task(send(number)) for number in range(SENDERS)]
    before = 0
    while len(went) < SENDERS:
        await asyncio.sleep(0)
        rounds += 1
        assert len(went) - before <= FEW
        before = len(went)
    assert rounds >= SENDERS // FEW
    assert went == list(range(SENDERS))
    await asyncio.gather(*senders)


async def test_one_who_gives_up_holds_up_nobody() -> None:
    pace = Pace()
    first, *rest = [asyncio.create_task(pace.admitted()) for _ in range(10)]
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*rest)
        await pace.admitted()
