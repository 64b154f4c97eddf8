"""Checks the books against one another: usage, charges, prices, journal, invoices and their lines.

All is read from one snapshot, in PostgreSQL's numeric, and nothing is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ledger.flows.books.check_thin_days import THIN_DAY, prove_thin_days
from ledger.store.books.check_books import PROOFS, Disagreement, Proof, count_states, prove
from ledger.store.queries import Connection

NAMED = 20
# All that is proved, in the order of the books: by a query each, and by lines made again.
EVERY = (*PROOFS, THIN_DAY)
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BooksReport:
    """How many figures of each proof are wrong, the first of them, and what became of usage.

    `states` counts usage windows: rated, unpriced, suspense, not_yet_rated. There is no other.
    """

    proofs: Mapping[str, int]
    differences: Sequence[Disagreement]
    states: Mapping[str, int]

    @property
    def differing(self) -> int:
        """All figures that are wrong."""
        return sum(self.proofs.values())


def no_progress(proofs: int, /) -> None:
    """Tell nobody."""


async def check_books(
    connection: Connection, *, named: int = NAMED, progress: Progress = no_progress
) -> BooksReport:
    """Every proof of EVERY; nothing else may use the connection meanwhile."""
    proofs = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for table in EVERY:
            proofs[table] = await _prove(connection, table, most=named)
            progress(1)
        states = await count_states(connection)
    first = [each for proof in proofs.values() for each in proof.first]
    return BooksReport(
        {table: proof.differing for table, proof in proofs.items()}, first[:named], states
    )


async def _prove(connection: Connection, table: str, *, most: int) -> Proof:
    if table == THIN_DAY:
        return await prove_thin_days(connection, most=most)
    return await prove(connection, table, most=most)
