"""Requests of customers' days, and how many of them lack what, as they stand at a cut-off."""

from collections.abc import Mapping
from dataclasses import asdict

from ledger.domain.period import Period
from ledger.store.operations import MarkedUsage
from ledger.store.queries import Connection, load_queries

USAGE_DAYS = load_queries("pricing/usage_days")


async def sum_marks_of_subscription(
    connection: Connection,
    *,
    subscription_id: str,
    customer_id: str,
    period: Period,
    batch_seq: int,
) -> Mapping[str, int]:
    """Requests of a period under a subscription (of a customer) that were rated, and how many of
    them lack what, by the names of MARKS."""
    (marks,) = await USAGE_DAYS["sum_marks_of_subscription"].values(
        connection,
        MarkedUsage,
        subscription_id=subscription_id,
        customer_id=customer_id,
        since=period.start,
        until=period.end,
        batch_seq=batch_seq,
    )
    return asdict(marks)
