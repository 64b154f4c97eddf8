"""Which overdue invoices are to be reminded of, and as how often.

Invariant: an invoice is reminded of once at each level, in their order, and never sooner after the
letter before than the policy has days between the two.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ledger.domain.billing.receivable import OpenItem


@dataclass(frozen=True, slots=True)
class LastReminder:
    """As how often an invoice was reminded of, and on which day last."""

    level: int
    written_on: date


@dataclass(frozen=True, slots=True)
class Reminder:
    """An overdue invoice that is to be reminded of, as often as `level` says."""

    item: OpenItem
    level: int
    late_days: int


def due_reminders(
    items: Iterable[OpenItem],
    last: Mapping[int, LastReminder],
    reminder_days: Sequence[int],
    today: date,
) -> list[Reminder]:
    """What is to be reminded of `today`, the invoices that are due longest first."""
    return [
        Reminder(item, level, (today - item.due_on).days)
        for item in sorted(items, key=lambda item: (item.due_on, item.number))
        if item.open > 0
        and not item.is_disputed
        and (level := _level(item, last.get(item.invoice_id), reminder_days, today))
    ]


def _level(
    item: OpenItem, last: LastReminder | None, reminder_days: Sequence[int], today: date
) -> int:
    """The level that is due, or 0."""
    level = 0 if last is None else last.level
    if level >= len(reminder_days) or (today - item.due_on).days < reminder_days[level]:
        return 0
    if last is not None:
        pause = timedelta(days=reminder_days[level] - reminder_days[level - 1])
        if today < last.written_on + pause:
            return 0
    return level + 1


def by_letter(reminders: Iterable[Reminder]) -> dict[tuple[str, str], list[Reminder]]:
    """One letter for each customer and currency."""
    letters: dict[tuple[str, str], list[Reminder]] = {}
    for each in reminders:
        letters.setdefault((each.item.customer_id, each.item.currency), []).append(each)
    return letters
