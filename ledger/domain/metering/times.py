"""Turns columns of RFC 3339 text into microseconds since 1970, digits past the microsecond cut off.

Invariant: a value here is the instant that `wire.rfc3339.parse_rfc3339` reads, or null where that
refuses the text.
"""

from datetime import UTC, datetime

import polars as pl

from ledger.domain.frames import MANY_ROWS
from ledger.domain.period import EPOCH, MICROSECOND
from ledger.wire.errors import Rfc3339Error
from ledger.wire.rfc3339 import parse_rfc3339

# The form nearly everybody sends; any other is read one by one.
_PLAIN = r"^[12]\d{3}-\d{2}-\d{2}T\d{2}:\d{2}:[0-5]\d(?:\.\d+)?Z$"


def parse_times(texts: pl.Series) -> pl.Series:
    """Microseconds as Int64; null stays null, and what is no time becomes null."""
    if len(texts) < MANY_ROWS or texts.null_count() == len(texts):
        times = [None if text is None else _micros(text) for text in texts.to_list()]
        return pl.Series(texts.name, times, pl.Int64)
    plain = texts.str.contains(_PLAIN)
    seconds = texts.str.slice(0, 19).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False
    )
    digits = texts.str.extract(r"\.(\d{1,6})", 1).str.pad_end(6, "0").cast(pl.Int64, strict=False)
    quick = seconds.cast(pl.Int64) + digits.fill_null(0)
    other = texts.is_not_null() & ~plain.fill_null(value=True)
    if not other.any():
        return quick.rename(texts.name)
    slow = pl.Series([_micros(t) if o else None for t, o in zip(texts, other, strict=True)])
    frame = pl.DataFrame({"quick": quick, "slow": slow.cast(pl.Int64), "other": other})
    picked = pl.when("other").then("slow").otherwise("quick")
    return frame.select(picked.alias(texts.name)).to_series()


def micros(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970."""
    return (moment.astimezone(UTC) - EPOCH) // MICROSECOND


def _micros(text: str) -> int | None:
    try:
        return micros(parse_rfc3339(text))
    except Rfc3339Error:
        return None
