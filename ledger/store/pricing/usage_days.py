"""Requests of customers' days, and how many of them lack what, as they stand at a cut-off."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from ledger.domain.entity import LegalEntity
from ledger.domain.period import Period
from ledger.store.connect import CutOff
from ledger.store.operations import MarkedUsage
from ledger.store.pricing.rating import CustomerPeriod, arrays_of, zone_arrays
from ledger.store.queries import Connection, load_queries

USAGE_DAYS = load_queries("pricing/usage_days")


async def append_usage_days(
    connection: Connection,
    *,
    entity: LegalEntity,
    periods: Sequence[CustomerPeriod],
    midnights: Mapping[str, Sequence[datetime]],
    cut_off: CutOff,
    stored_seq: int,
) -> None:
    """Append what days count at a cut-off less what is stored of them."""
    await USAGE_DAYS["append_usage_days"].run(
        connection,
        **arrays_of(periods),
        entity_id=entity.entity_id,
        entity_zone=entity.zone,
        **zone_arrays(midnights),
        batch_seq=cut_off.batch_seq,
        cut_off_id=cut_off.cut_off_id,
        stored_seq=stored_seq,
    )


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
