"""Folding of delta rows: which windows are due, and one step over some of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.store.queries import Connection, load_queries

RETENTION = load_queries("retention")
FOLDS = ("fold_usage", "fold_activity", "fold_masks")


@dataclass(frozen=True, slots=True)
class Folded:
    """Rows that went into a merge and rows that came out of it."""

    gone: int = 0
    come: int = 0

    def __add__(self, other: "Folded") -> "Folded":
        return Folded(self.gone + other.gone, self.come + other.come)


@dataclass(frozen=True, slots=True)
class LastFold:
    """Up to where the last finished fold looked, and when it ended."""

    batch_seq: int
    finished_at: datetime


async def find_last_fold(connection: Connection) -> LastFold | None:
    """The last finished fold, or None before the first."""
    row = await RETENTION["find_last_fold"].row(connection)
    return LastFold(row["batch_seq"], row["finished_at"]) if row else None


async def find_windows_to_fold(
    connection: Connection, *, since_seq: int, batch_seq: int
) -> list[datetime]:
    """Windows that batches of (since_seq, batch_seq] touched, oldest first."""
    rows = await RETENTION["find_windows_to_fold"].rows(
        connection, since_seq=since_seq, batch_seq=batch_seq
    )
    return [row["window_start"] for row in rows]


async def try_lock_fold(connection: Connection) -> bool:
    """Keep other folds and new cut-offs out until the transaction ends, or False at once."""
    return bool(await RETENTION["try_lock_fold"].value(connection))


async def fold_rows(
    connection: Connection, fold: str, *, windows: Sequence[datetime], batch_seq: int, most: int
) -> Folded:
    """One step of one of FOLDS over rows up to a cut-off; needs `try_lock_fold`."""
    row = await RETENTION[fold].row(connection, windows=windows, batch_seq=batch_seq, most=most)
    assert row is not None
    return Folded(row["gone"], row["come"])
