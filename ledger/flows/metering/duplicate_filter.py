"""Which sources send ids again: only theirs are looked up before they are taken.

The unique indexes of `event_key` have the last word in any case. Whoever offers a stored id without
a look-up is rolled back and tries again with one.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import polars as pl

from ledger.domain.metering.identities import EventId

# How many batches without a stored id it takes to be trusted again.
FILTERED_BATCHES = 100


@dataclass(slots=True)
class DuplicateFilter:
    """One per process: batches still to be looked up, by source."""

    left: dict[int, int] = field(default_factory=dict)

    def raise_for(self, source_ids: Iterable[int]) -> None:
        """Look up what these sources send next."""
        self.left.update(dict.fromkeys(source_ids, FILTERED_BATCHES))

    def asked(self, keyed: pl.DataFrame) -> pl.DataFrame:
        """The rows of a frame of KEYED_SCHEMA that have to be looked up."""
        if not self.left:
            return keyed.clear()
        return keyed.filter(pl.col("source_id").is_in(list(self.left)))

    def learn(self, asked: pl.DataFrame, stored: Collection[EventId]) -> None:
        """What a look-up came to: who has sent nothing again for long is trusted."""
        if not asked.height:
            return
        for source_id in asked["source_id"].unique().to_list():
            self.left[source_id] = self.left.get(source_id, 0) - 1
            if self.left[source_id] <= 0:
                del self.left[source_id]
        self.raise_for(event.source_id for event in stored)
