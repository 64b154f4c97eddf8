"""Says which months of an entity may close and open: in order, each once it is over.

Invariant: before a closed month every month with entries is closed, so that what comes late has one
place to go to, the first moment after the last of them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from hashlib import sha256

from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.domain.period import Period, midnight, zone
from ledger.domain.seal import FIRST

_NAME = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


class State(StrEnum):
    """What a month is: open to all, to finance with a reason, or to nobody."""

    OPEN = "open"
    SOFT_CLOSED = "soft_closed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class MonthState:
    """The last change of a month, given by its first day; `seal` is there while it is closed."""

    month: date
    change_no: int
    state: str
    seal: bytes | None


@dataclass(frozen=True, slots=True)
class MonthChange:
    """A month of a zone that is to be in another state; `change_no` counts its changes."""

    month: date
    period: Period
    state: State
    change_no: int


@dataclass(frozen=True, slots=True)
class JournalDigest:
    """Lines of the journal that are booked for a month: the last entry there is, how many lines
    those up to it have, and the SHA-256 of them in order."""

    until_entry_id: int
    lines: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Matter:
    """Something to be done before a month closes: how much of it, and what to do; what must not
    wait cannot be accepted."""

    name: str
    count: int
    about: str
    to_do: str
    must: bool = False


def check_done(matters: Iterable[Matter], accepted: Iterable[str]) -> dict[str, int]:
    """How much of each matter is left that somebody accepts by name; ConflictError names others.

    InvalidInputError where a name is none, or may not be accepted.
    """
    known = {matter.name: matter for matter in matters}
    for name in accepted:
        if name not in known or known[name].must:
            may = ", ".join(each.name for each in known.values() if not each.must)
            raise InvalidInputError(f"{name!r} cannot be accepted.", f"One of: {may}.", "accept")
    left = {name: matter for name, matter in known.items() if matter.count}
    undone = [matter for name, matter in left.items() if name not in set(accepted)]
    if undone:
        said = "; ".join(f"{each.name}: {each.count} {each.about}" for each in undone)
        raise ConflictError(
            f"Before it closes something is to be done: {said}.",
            " ".join(each.to_do for each in undone),
            undone[0].name,
        )
    return {name: matter.count for name, matter in left.items()}


def read_month(name: str) -> date:
    """The first day of a month that is named as 2026-08."""
    said = _NAME.fullmatch(name)
    if said is None:
        raise InvalidInputError(f"{name!r} is no month.", "Say it as 2026-08.", "month")
    return date(int(said[1]), int(said[2]), 1)


def name_of(month: date) -> str:
    """The month as people name it: 2026-08."""
    return f"{month:%Y-%m}"


def month_of(moment: datetime, zone_name: str) -> date:
    """The first day of the local month that holds `moment`."""
    return moment.astimezone(zone(zone_name)).date().replace(day=1)


def month_after(month: date) -> date:
    """The first day of the next month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def next_month(states: Iterable[MonthState], first: date | None) -> date | None:
    """The month that closes next; None where any may, as nothing is booked."""
    last = _last_closed(states)
    return first if last is None else month_after(last.month)


def month_period(month: date, zone_name: str) -> Period:
    """From when to when a month is, in its zone."""
    return Period(midnight(month, zone_name), midnight(month_after(month), zone_name))


def closing(
    month: date, states: Sequence[MonthState], *, soft: bool, first: date | None, zone_name: str
) -> MonthChange:
    """The month closed, of which `states` says what others are; `first` is the first with entries.

    ConflictError where it is closed already, or one before it is not.
    """
    known = _of(month, states)
    if known is not None and known.state == State.CLOSED:
        raise ConflictError(f"{name_of(month)} is closed already.", "It can be opened again.")
    due = next_month(states, first)
    if due is not None and month != due:
        raise ConflictError(
            f"{name_of(month)} is not next: {name_of(due)} is.", f"Close {name_of(due)} first."
        )
    state = State.SOFT_CLOSED if soft else State.CLOSED
    return _change(month, state, known, zone_name)


def check_over(change: MonthChange, now: datetime) -> None:
    """ConflictError where the month has not ended."""
    if change.period.end > now:
        raise ConflictError(
            f"{name_of(change.month)} is not over yet.", "A month closes once it has ended."
        )


def reopening(month: date, states: Sequence[MonthState], *, zone_name: str) -> MonthChange:
    """The month open again; ConflictError where it is not closed, or one after it is."""
    known = _of(month, states)
    if known is None or known.state == State.OPEN:
        raise ConflictError(f"{name_of(month)} is open.", "Nothing is to be done.")
    last = _last_closed(states)
    if known.state == State.CLOSED and last is not None and last.month != month:
        raise ConflictError(
            f"{name_of(last.month)} closed after {name_of(month)}.",
            f"Open {name_of(last.month)} first, or leave both: what comes late is booked after.",
        )
    return _change(month, State.OPEN, known, zone_name)


def seal_of(
    entity_id: str, month: date, states: Iterable[MonthState], lines: JournalDigest
) -> tuple[bytes, bytes]:
    """The seal of the month that closed before (zeros: none did), and the one linked to it."""
    last = _last_closed(states)
    previous = FIRST if last is None or last.seal is None else last.seal
    said = f"{entity_id} {name_of(month)} {lines.lines} ".encode()
    return previous, sha256(previous + said + lines.digest).digest()


def _change(month: date, state: State, known: MonthState | None, zone_name: str) -> MonthChange:
    number = 1 if known is None else known.change_no + 1
    return MonthChange(month, month_period(month, zone_name), state, number)


def _of(month: date, states: Iterable[MonthState]) -> MonthState | None:
    return next((each for each in states if each.month == month), None)


def _last_closed(states: Iterable[MonthState]) -> MonthState | None:
    closed = [each for each in states if each.state == State.CLOSED]
    return max(closed, key=lambda each: each.month, default=None)
