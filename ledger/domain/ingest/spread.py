"""Turns attempts into sums on the grid: where they are billed, and where and when worked on.

Invariant: an attempt is billed whole in the window of its end; its work telescopes over windows, so
activity adds up to the same tokens. Input is worked on from the start to the first token, output
from there to the end; what is not known widens to [started, ended], or to the end's moment.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.apportion import cumulative_split
from ledger.domain.busy import mask_of
from ledger.domain.fact import Tokens
from ledger.domain.meter import microseconds
from ledger.domain.period import WINDOW, window_start


@dataclass(frozen=True, slots=True)
class Attempt:
    """A fact ready to be spread: resolved keys, times and tokens (negative in a reversal)."""

    customer_id: str | None
    usage_key_id: int
    engine_key_id: int
    time: datetime
    started_at: datetime | None
    first_token_at: datetime | None
    ended_at: datetime | None
    requests: int
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Deltas:
    """Sums of one batch by key: usage, activity, and busy seconds."""

    usage: dict[tuple[str | None, int, datetime], tuple[int, ...]]
    activity: dict[tuple[int, datetime, int], tuple[int, ...]]
    masks: dict[tuple[int, datetime], int]


def spread(attempts: Iterable[Attempt]) -> Deltas:
    """Deltas of a batch; reversals take tokens back but leave the seconds busy."""
    usage: dict[tuple[str | None, int, datetime], list[int]] = defaultdict(lambda: [0] * 6)
    activity: dict[tuple[int, datetime, int], list[int]] = defaultdict(lambda: [0] * 4)
    masks: dict[tuple[int, datetime], int] = defaultdict(int)
    for attempt in attempts:
        _bill(attempt, usage)
        _work(attempt, activity)
        if attempt.requests > 0:
            _busy(attempt, masks)
    return Deltas(
        {key: tuple(sums) for key, sums in usage.items()},
        {key: tuple(sums) for key, sums in activity.items() if any(sums)},
        dict(masks),
    )


def _bill(attempt: Attempt, usage: dict[tuple[str | None, int, datetime], list[int]]) -> None:
    tokens = attempt.tokens
    sums = usage[attempt.customer_id, attempt.usage_key_id, window_start(attempt.time)]
    for place, amount in enumerate(
        (
            attempt.requests,
            tokens.uncached,
            tokens.cache_read,
            tokens.cache_write,
            tokens.visible,
            tokens.reasoning,
        )
    ):
        sums[place] += amount


def _work(attempt: Attempt, activity: dict[tuple[int, datetime, int], list[int]]) -> None:
    start, first, end = _span(attempt)
    tokens = attempt.tokens
    inputs = (tokens.uncached, tokens.cache_read, tokens.cache_write)
    starts = _window_starts(start, end)
    edges = [microseconds(at) for at in starts] + [microseconds(starts[-1] + WINDOW)]
    known = attempt.first_token_at is not None and attempt.started_at is not None
    input_end, output_start = (first, first) if known else (end, start)
    for place, (amount, since, until) in enumerate(
        (*((amount, start, input_end) for amount in inputs), (tokens.output, output_start, end))
    ):
        parts = _split(amount, since, until, edges)
        for at, part in zip(starts, parts, strict=True):
            if part:
                activity[attempt.engine_key_id, at, attempt.usage_key_id][place] += part


def _split(amount: int, since: datetime, until: datetime, edges: list[int]) -> list[int]:
    start, end = microseconds(since), microseconds(until)
    if amount and start < end:
        sign = -1 if amount < 0 else 1
        parts = cumulative_split(abs(amount), start=start, end=end, edges=edges)
        return [sign * part for part in parts]
    # All at once: in its window, or in the last one where it stands on the very end.
    parts = [0] * (len(edges) - 1)
    parts[min(bisect_right(edges, start), len(parts)) - 1] = amount
    return parts


def _busy(attempt: Attempt, masks: dict[tuple[int, datetime], int]) -> None:
    start, _, end = _span(attempt)
    for at in _window_starts(start, end):
        mask = mask_of(start, end, at)
        if mask:
            masks[attempt.engine_key_id, at] |= mask


def _span(attempt: Attempt) -> tuple[datetime, datetime, datetime]:
    end = attempt.ended_at or attempt.time
    start = min(attempt.started_at or end, end)
    first = attempt.first_token_at or end
    return start, min(max(first, start), end), end


def _window_starts(start: datetime, end: datetime) -> list[datetime]:
    at = window_start(start)
    found = [at]
    while at + WINDOW < end:
        at += WINDOW
        found.append(at)
    return found
