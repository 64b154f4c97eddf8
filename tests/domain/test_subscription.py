from datetime import UTC, datetime, timedelta

import pytest

from ledger.domain.errors import InvalidInputError
from ledger.domain.pricing.subscription import Subscription

SIGNED = datetime(2024, 3, 10, 12, tzinfo=UTC)
MOVED = datetime(2024, 6, 20, tzinfo=UTC)


def subscription(name: str, since: datetime, until: datetime | None) -> Subscription:
    return Subscription(
        subscription_id=name,
        customer_id="acme",
        rate_card_id=f"card-{name}",
        zone="Asia/Kolkata",
        anchor_day=1,
        valid_from=since,
        valid_to=until,
    )


FIRST, SECOND = subscription("first", SIGNED, MOVED), subscription("second", MOVED, None)


def test_a_billing_period_is_clipped_to_what_was_agreed() -> None:
    first = FIRST.billing_period(SIGNED)
    assert (first.start, first.end) == (SIGNED, datetime(2024, 3, 31, 18, 30, tzinfo=UTC))
    assert FIRST.billing_period(MOVED - timedelta(hours=1)).end == MOVED
    assert SECOND.billing_period(MOVED).start == MOVED
    with pytest.raises(InvalidInputError, match="No billing period"):
        FIRST.billing_period(MOVED)
