"""Writes the rows of one batch: what was counted, read and claimed, as COPY streams."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from ledger.domain.ingest import rows
from ledger.domain.ingest.spread import busy_masks
from ledger.store.ingest import copy_masks, copy_rows
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch's rows, ready but for their number: facts, and the moves of the windows.

    `facts` and `moves` have `sign`; `moves` are the facts that change a window, `worked` those that
    kept an engine busy, `claims` those that may carry a vendor's cost.
    """

    facts: pl.DataFrame
    usage_windows: pl.DataFrame
    activity_windows: pl.DataFrame
    masks: Sequence[tuple[int, datetime, int]]
    claims: pl.DataFrame
    energy: pl.DataFrame
    counters: pl.DataFrame
    stored_day: date

    @classmethod
    def of(
        cls,
        facts: pl.DataFrame,
        *,
        moves: pl.DataFrame,
        worked: pl.DataFrame,
        claims: pl.DataFrame,
        energy: pl.DataFrame,
        counters: pl.DataFrame,
        now: datetime,
    ) -> "Stored":
        """Encode everything that needs no number."""
        day = now.astimezone(UTC).date()
        return cls(
            facts=rows.fact_frame(facts, stored_day=day),
            usage_windows=rows.usage_delta_frame(moves),
            activity_windows=rows.activity_delta_frame(moves),
            masks=[(key, rows.moment(at), mask) for key, at, mask in busy_masks(worked)],
            claims=claims,
            energy=rows.reading_frame(energy, stored_day=day),
            counters=counters,
            stored_day=day,
        )

    async def copy(self, connection: Connection, batch_seq: int) -> None:
        """Write it under its number."""
        for table, columns, frame in (
            ("usage_fact", rows.FACT_COLUMNS, self.facts),
            ("usage_delta", rows.USAGE_DELTA_COLUMNS, self.usage_windows),
            ("activity_delta", rows.ACTIVITY_DELTA_COLUMNS, self.activity_windows),
            ("gpu_reading", rows.READING_COLUMNS, self.energy),
        ):
            if frame.height:
                numbered = rows.numbered(frame, columns, batch_seq=batch_seq)
                await copy_rows(connection, table, columns, numbered)
        if self.masks:
            await copy_masks(connection, self.masks, batch_seq=batch_seq)
        counters = rows.counter_rows(self.counters, batch_seq=batch_seq, stored_day=self.stored_day)
        if counters:
            await copy_rows(connection, "counter_reading", rows.COUNTER_COLUMNS, counters)
        claims = rows.claim_rows(self.claims, batch_seq=batch_seq)
        if claims:
            await copy_rows(connection, "provider_claim", rows.CLAIM_COLUMNS, claims)
