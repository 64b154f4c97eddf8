"""Which refused items are kept one by one, and which are counted alone.

Invariant: every refused item is counted in its receipt; of a body at most KEPT_OF_BODY are kept,
and of a source so many as there is room for, so that bytes of nothing never fill the disk.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.arrays import Ints
from ledger.domain.metering.decode import Reject
from ledger.domain.metering.fact import Reason

KEPT_OF_BODY = 1_000
# Of a source in a day; what is nameless counts as one source.
KEPT_OF_SOURCE = 20_000


@dataclass(frozen=True, slots=True)
class Kept:
    """`rows` are kept one by one; `more` are rows that stand for others, with how many."""

    rows: Sequence[int]
    more: Mapping[int, tuple[Reject, int]]


def choose_kept(
    rejects: Mapping[int, Reject], owners: Ints, kept_before: Mapping[str, int]
) -> Kept:
    """Of refused rows those to keep; `kept_before` has how many of each source were kept lately."""
    bodies, sources = Counter[int](), Counter(kept_before)
    rows: list[int] = []
    first: dict[str, int] = {}
    left = Counter[str]()
    for row in sorted(rejects):
        body, source = int(owners[row]), rejects[row].source
        if bodies[body] < KEPT_OF_BODY and sources[source] < KEPT_OF_SOURCE:
            bodies[body] += 1
            sources[source] += 1
            rows.append(row)
        else:
            first.setdefault(source, row)
            left[source] += 1
    more = {row: (_more(source, left[source]), left[source]) for source, row in first.items()}
    return Kept(rows, more)


def _more(source: str, items: int) -> Reject:
    detail = (
        f"{items} more items were refused; {KEPT_OF_BODY} of a body and {KEPT_OF_SOURCE}"
        " of a source and day are kept one by one"
    )
    return Reject(Reason.MORE_REFUSED, detail, None, source)
