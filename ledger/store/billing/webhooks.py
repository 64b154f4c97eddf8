"""Webhooks, their secrets, and notices on their way to them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from ledger.domain.billing.webhook import OVERLAP, Answer, NextTry, Notice
from ledger.store.queries import Connection, load_queries

WEBHOOKS = load_queries("billing/webhooks")


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a system is told of some events, of an entity or (not None) a customer of it."""

    webhook_id: str
    entity_id: str
    customer_id: str | None
    url: str
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A notice on its way to a webhook, tried so often before; the newest secret comes first."""

    webhook_id: str
    url: str
    tries: int
    notice_id: str
    event: str
    noticed_at: datetime
    data: Mapping[str, object]
    secrets: tuple[bytes, ...]

    @property
    def notice(self) -> Notice:
        """What is told."""
        return Notice(self.notice_id, self.event, self.noticed_at, self.data)


@dataclass(frozen=True, slots=True)
class NoticeDelivery:
    """What came of a try, and what follows from it."""

    due: DueNotice
    answer: Answer
    then: NextTry


async def find_webhook(connection: Connection, webhook_id: str) -> Webhook | None:
    """A webhook by its id, or None."""
    return await WEBHOOKS["find_webhook"].first(connection, Webhook, webhook_id=webhook_id)


async def insert_webhook(connection: Connection, webhook: Webhook, *, batch_seq: int) -> None:
    """Store a new webhook."""
    values = asdict(webhook) | {"events": list(webhook.events)}
    await WEBHOOKS["insert_webhook"].run(connection, **values, batch_seq=batch_seq)


async def insert_secret(
    connection: Connection, webhook_id: str, secret: bytes, *, now: datetime
) -> None:
    """Sign with it from now on."""
    await WEBHOOKS["insert_secret"].run(
        connection, webhook_id=webhook_id, secret=secret, made_at=now
    )


async def insert_state(
    connection: Connection, webhook_id: str, *, active: bool, reason: str, now: datetime
) -> None:
    """Switch a webhook on or off."""
    await WEBHOOKS["insert_state"].run(
        connection, webhook_id=webhook_id, active=active, reason=reason, changed_at=now
    )


async def lease_due(
    connection: Connection, *, now: datetime, lease: timedelta, each: int
) -> list[DueNotice]:
    """What is due, at most `each` of a webhook; others see it again only after the lease."""
    return await WEBHOOKS["lease_due"].values(
        connection, DueNotice, now=now, until=now + lease, each=each, signs_since=now - OVERLAP
    )


async def insert_deliveries(
    connection: Connection, deliveries: Sequence[NoticeDelivery], *, now: datetime
) -> None:
    """Keep what came of tries, and when each is made again."""
    await WEBHOOKS["insert_deliveries"].run(
        connection,
        webhook_ids=[each.due.webhook_id for each in deliveries],
        notice_ids=[each.due.notice_id for each in deliveries],
        outcomes=[str(each.answer.outcome) for each in deliveries],
        statuses=[each.answer.status for each in deliveries],
        details=[each.answer.detail for each in deliveries],
        next_at=[each.then.next_at for each in deliveries],
        now=now,
    )


async def is_notice(connection: Connection, notice_id: str) -> bool:
    """Whether there is a notice of this id."""
    return bool(await WEBHOOKS["is_notice"].value(connection, notice_id=notice_id))


async def queue_again(connection: Connection, notice_id: str, *, now: datetime) -> int:
    """Make a notice due at every webhook that wants it; how many those are."""
    return int(await WEBHOOKS["queue_again"].value(connection, notice_id=notice_id, now=now))


async def tell_of_overdue(connection: Connection, *, now: datetime) -> int:
    """Write a notice of each invoice that became overdue; how many."""
    return await WEBHOOKS["tell_of_overdue"].run(connection, now=now)
