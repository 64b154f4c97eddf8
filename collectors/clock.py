"""What time it is; beside ledger/clock.py the only place that asks."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The wall clock, aware, in UTC."""
    return datetime.now(UTC)


def new_epoch() -> int:
    """A number for a spool made now: microseconds, so that one made anew at once has another."""
    return time.time_ns() // 1_000
