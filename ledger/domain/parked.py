"""What a stage could not do for an entity, and when it is tried again.

Invariant: pauses grow with the failures in a row, from a minute to an hour, and never end.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from ledger.domain.period import Period, windows

# A subject (a customer, or '' where a stage does not go by customer) and a window or hour of it.
Part: TypeAlias = tuple[str, datetime]
REASON_CHARS_MAX = 400
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Failed:
    """Parts of a subject from `since` to before `until` that failed together; None is all of it."""

    subject: str
    since: datetime | None
    until: datetime | None
    reason: str

    @property
    def identity(self) -> tuple[str, datetime | None, datetime | None]:
        """What it is that failed, whatever the reason."""
        return self.subject, self.since, self.until

    def parts(self) -> Iterator[Part]:
        """Every window in it; none where it is all of the subject."""
        if self.since is not None and self.until is not None:
            for at in windows(Period(self.since, self.until)):
                yield self.subject, at

    def touches(self, period: Period) -> bool:
        """Whether some of it lies in a period."""
        if self.since is None or self.until is None:
            return True
        return self.since < period.end and period.start < self.until


@dataclass(frozen=True, slots=True)
class Parked:
    """What failed, `failures` times in a row by now."""

    stage: str
    entity_id: str
    what: Failed
    failures: int
    first_failed_at: datetime
    next_try_at: datetime

    def __str__(self) -> str:
        what = self.what
        owner = f"{self.entity_id} {what.subject}".strip()
        when = f" from {what.since:%FT%RZ} to {what.until:%FT%RZ}" if what.since else ""
        times = f"failed {self.failures} times since {self.first_failed_at:%FT%RZ}"
        return f"{self.stage} of {owner}{when} {times}: {what.reason}"

    def is_due(self, now: datetime) -> bool:
        """Whether its pause is over."""
        return self.next_try_at <= now


def park(
    failed: Failed, before: Iterable[Parked], *, stage: str, entity_id: str, now: datetime
) -> Parked:
    """What failed now, counted on from what was parked of it before."""
    known = [parked for parked in before if _overlaps(parked.what, failed)]
    failures = 1 + max((parked.failures for parked in known), default=0)
    first = min((parked.first_failed_at for parked in known), default=now)
    return Parked(stage, entity_id, failed, failures, first, now + pause(failures))


def pause(failures: int) -> timedelta:
    """How long to wait after so many failures in a row.

    >>> [pause(n) // timedelta(minutes=1) for n in (1, 2, 3, 7, 400)]
    [1, 2, 4, 60, 60]
    """
    return min(FIRST_PAUSE * (1 << min(failures - 1, 10)), LONGEST_PAUSE)


def failed_parts(chunk: Sequence[Part], *, step: timedelta, reason: str) -> list[Failed]:
    """A chunk that failed, by subject; `step` is how long a part is."""
    failed: dict[str, list[datetime]] = {}
    for subject, at in chunk:
        failed.setdefault(subject, []).append(at)
    return [Failed(name, min(ats), max(ats) + step, reason) for name, ats in failed.items()]


def reason_of(error: BaseException) -> str:
    """An error as one line that any column can hold."""
    said = " ".join(str(error).replace("\0", "").split())
    named = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return named[:REASON_CHARS_MAX]


def _overlaps(left: Failed, right: Failed) -> bool:
    if left.since is None or left.until is None or right.since is None or right.until is None:
        return left.since is right.since
    return left.subject == right.subject and left.since < right.until and right.since < left.until
