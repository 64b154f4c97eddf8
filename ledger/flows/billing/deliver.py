"""Sends notices to webhooks: at least once each, under the same id whenever it is sent again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.domain.author import Author
from ledger.domain.billing.webhook import Answer, Outcome, body_of, headers_of, judge_answer
from ledger.domain.errors import NotFoundError
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store.billing import webhooks as store
from ledger.store.billing.webhooks import DueNotice, NoticeDelivery
from ledger.store.connect import draw_batch_seq
from ledger.store.queries import Connection

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[Answer]]
# Whoever dies while it sends is followed by another after so long.
LEASE = timedelta(minutes=1)
# One that is slow holds up others by one message, however much waits for it.
EACH = 32


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many notices reached their webhook, how many did not, and which were switched off."""

    delivered: int = 0
    failed: int = 0
    switched_off: tuple[str, ...] = ()


async def deliver(connection: Connection, *, post: Post, now: datetime) -> Delivered:
    """Send all that is due at `now`, in rounds; each try is kept as soon as its round is over.

    Nothing is locked while something is sent, so a process that dies between sending and keeping
    leaves it to be sent again, under the same id.
    """
    done: list[NoticeDelivery] = []
    while True:
        due = await store.lease_due(connection, now=now, lease=LEASE, each=EACH)
        if not due:
            return _summed(done)
        answers = await asyncio.gather(*(_send(each, post, now) for each in due))
        done += await _keep(connection, due, answers, now)


async def replay_notice(
    connection: Connection, notice_id: str, author: Author, *, now: datetime
) -> int:
    """Make a notice due again at every webhook that wants it; returns how many those are.

    NotFoundError where there is no such notice.
    """
    async with writing(connection):
        if not await store.is_notice(connection, notice_id):
            raise NotFoundError(f"There is no notice {notice_id}.", "List them to see their ids.")
        queued = await store.queue_again(connection, notice_id, now=now)
        await keep_write(
            connection,
            author,
            batch_seq=await draw_batch_seq(connection),
            action="replay notice",
            subject=notice_id,
            detail={"webhooks": queued},
        )
    return queued


async def _send(due: DueNotice, post: Post, now: datetime) -> Answer:
    body = body_of(due.notice)
    return await post(due.url, headers_of(due.notice_id, body, due.secrets, now), body)


async def _keep(
    connection: Connection, due: list[DueNotice], answers: list[Answer], now: datetime
) -> list[NoticeDelivery]:
    deliveries = [
        NoticeDelivery(each, answer, judge_answer(answer, each.tries, now))
        for each, answer in zip(due, answers, strict=True)
    ]
    async with connection.transaction():
        await store.insert_deliveries(connection, deliveries, now=now)
        for webhook_id, reason in _to_switch_off(deliveries).items():
            await store.insert_state(connection, webhook_id, active=False, reason=reason, now=now)
    return deliveries


def _to_switch_off(deliveries: list[NoticeDelivery]) -> dict[str, str]:
    return {each.due.webhook_id: each.then.off for each in deliveries if each.then.off}


def _summed(done: list[NoticeDelivery]) -> Delivered:
    delivered = sum(each.answer.outcome is Outcome.DELIVERED for each in done)
    return Delivered(delivered, len(done) - delivered, tuple(sorted(_to_switch_off(done))))
