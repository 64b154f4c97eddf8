"""RFC 3339 text to an aware UTC datetime and back; a time that means two instants is refused."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal

from ledger.wire.errors import RepeatedTimeError, Rfc3339Error, shorten

_PATTERN = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?(?:([Zz])|([+-])(\d{2}):(\d{2}))?",
    re.ASCII,
)
_NO_SECONDS = re.compile(r"(\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2})(?!:)", re.ASCII)
MICROSECOND_DIGITS = 6


def parse_rfc3339(
    text: str, *, zone: tzinfo | None = None, fold: Literal[0, 1] | None = None
) -> datetime:
    """Read one instant; digits past the microsecond are cut off, never rounded.

    Without an offset in the text `zone` decides; a local time the zone skips is refused, and one
    it has twice is refused unless `fold` says which.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise Rfc3339Error(
            f"time {shorten(text)} is not RFC 3339; write it like 2026-08-06T06:31:12.418Z"
        )
    local = _local(match, text)
    offset = _offset(match, text)
    if offset is None and zone is None:
        raise Rfc3339Error(
            f"time {shorten(text)} has no offset; append Z or +hh:mm, or name a zone"
        )
    try:
        if offset is not None:
            return local.replace(tzinfo=offset).astimezone(UTC)
        assert zone is not None
        return _in_zone(local, zone, fold)
    except OverflowError as error:
        raise Rfc3339Error(f"time {shorten(text)} lies outside years 1 to 9999 in UTC") from error


def with_seconds(text: str) -> str:
    """The same time, with the seconds that people leave out, and messages too."""
    return _NO_SECONDS.sub(r"\1:00", text, count=1)


def possible_instants(text: str, *, zone: tzinfo) -> tuple[datetime, ...]:
    """The instant a text names, or both, in order, where the clocks of `zone` showed it twice."""
    first, second = (parse_rfc3339(text, zone=zone, fold=fold) for fold in (0, 1))
    return (first,) if first == second else (first, second)


def format_rfc3339(instant: datetime) -> str:
    """Write an aware datetime in UTC with six fractional digits and Z."""
    if instant.tzinfo is None:
        raise Rfc3339Error(f"time {instant!r} has no zone; pass an aware datetime")
    if instant.tzinfo is UTC:
        return instant.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _local(match: re.Match[str], text: str) -> datetime:
    digits = (match[3] or "")[:MICROSECOND_DIGITS].ljust(MICROSECOND_DIGITS, "0")
    try:
        # The pattern has fixed the form; this call only refuses what no calendar has.
        return datetime.fromisoformat(f"{match[1]}T{match[2]}.{digits}")
    except ValueError as error:
        raise Rfc3339Error(f"time {shorten(text)} is no date or time of day: {error}") from error


def _offset(match: re.Match[str], text: str) -> tzinfo | None:
    if match[4]:
        return UTC
    if match[5] is None:
        return None
    hours, minutes = int(match[6]), int(match[7])
    if hours > 23 or minutes > 59:
        raise Rfc3339Error(f"time {shorten(text)} has an offset beyond 23:59")
    delta = timedelta(hours=hours, minutes=minutes)
    return timezone(-delta if match[5] == "-" else delta)


def _in_zone(local: datetime, zone: tzinfo, fold: Literal[0, 1] | None) -> datetime:
    first = local.replace(tzinfo=zone, fold=0)
    second = local.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise Rfc3339Error(f"local time {local} does not exist in {zone}, whose clocks skipped it")
    if fold is None:
        raise RepeatedTimeError(f"local time {local} exists twice in {zone}")
    return (second if fold else first).astimezone(UTC)
