"""Cuts a journal into stretches whose balances are carried, so that none needs all of it.

Invariant: stretches of a journal follow one another from 0 without a gap or an overlap.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# So many stretches of one level in a row become one of the next.
FAN = 8


@dataclass(frozen=True, slots=True)
class JournalStretch:
    """Entries of batches in (since_seq, until_seq]; on level n it is of FAN^n of those on 0."""

    level: int
    since_seq: int
    until_seq: int


def cut(since_seq: int, batches: Iterable[tuple[int, int]], least: int) -> list[JournalStretch]:
    """Stretches of at least `least` entries each, of (batch_seq, entries) in order behind
    `since_seq`; what is left over waits.

    >>> cut(4, [(5, 2), (7, 2), (9, 1)], 3)
    [JournalStretch(level=0, since_seq=4, until_seq=7)]
    """
    stretches, entries = [], 0
    for batch_seq, count in batches:
        entries += count
        if entries >= least:
            stretches.append(JournalStretch(0, since_seq, batch_seq))
            since_seq, entries = batch_seq, 0
    return stretches


def carried_forward(
    chain: Sequence[JournalStretch], fresh: Sequence[JournalStretch]
) -> list[JournalStretch]:
    """What is to be added where `fresh` stretches follow the longest there are: they, and what each
    FAN in a row add up to; each behind those it is made of."""
    standing, added = list(chain), []
    for each in fresh:
        new = each
        while True:
            added.append(new)
            standing.append(new)
            last = standing[-FAN:]
            if len(last) < FAN or {stretch.level for stretch in last} != {new.level}:
                break
            del standing[-FAN:]
            new = JournalStretch(new.level + 1, last[0].since_seq, new.until_seq)
    return added
