"""Writes the rows of one batch: what was counted, read and claimed.

A large batch brings its facts and what it adds to windows as columns, a row each; a small one all
rows in a statement, others as COPY streams.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from ledger.domain.metering import rows
from ledger.domain.metering.agent_run import AGENT_RUN_COLUMNS, agent_run_frame
from ledger.domain.metering.budget_use import BudgetUse
from ledger.domain.metering.extra_rows import (
    EXTRA_COLUMNS,
    extra_delta_frame,
    extra_moves,
    extra_rows,
)
from ledger.store.billing.budgets import count_use
from ledger.store.binary import Rows
from ledger.store.copying import copy_binary, copy_rows
from ledger.store.metering.chunks import EncodedChunk, insert_chunk
from ledger.store.metering.few import insert_few
from ledger.store.queries import Connection
from ledger.store.sums import KINDS, EncodedSums, insert_sums

# Below it a chunk costs more than its rows: a value of its own, and half a millisecond to encode.
CHUNK_FACTS = 4_096
# Up to so many a COPY a table costs more than one statement for all.
FEW_ROWS = 1_000
_ENCODE: Mapping[str, Callable[[pl.DataFrame], Rows]] = {
    "usage_fact": lambda frame: Rows.of(frame, rows.FACT_COLUMNS),
    **{kind.table: kind.encode for kind in KINDS.values()},
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch's rows, encoded but for their number: facts, and the moves of the windows.

    The facts of a large batch are a chunk and its moves frames, those of others rows. `tables` go
    as they are, and so does what is `few`, by table; scrapes and vendors' claims have values that
    only Python encodes.
    """

    chunk: EncodedChunk | None
    sums: EncodedSums | None
    few: Mapping[str, pl.DataFrame]
    tables: Sequence[tuple[str, Rows]]
    provider_costs: pl.DataFrame
    extras: pl.DataFrame | None
    counters: pl.DataFrame
    stored_day: date
    use: BudgetUse

    @classmethod
    def of(  # noqa: PLR0913  # what a batch brings, by what is made of it
        cls,
        facts: pl.DataFrame,
        *,
        moves: pl.DataFrame,
        worked: pl.DataFrame,
        provider_costs: pl.DataFrame,
        readings: Mapping[str, pl.DataFrame],
        use: BudgetUse,
        runs: Sequence[pl.DataFrame] = (),
        extras: pl.DataFrame | None = None,
        now: datetime,
        chunk_facts: int = CHUNK_FACTS,
        few_rows: int = FEW_ROWS,
    ) -> "Stored":
        """Encode everything that needs no number; `chunk_facts` facts are a chunk, and so many rows
        are few.

        `facts` and `moves` have `sign`; `moves` are the facts that change a window, `worked` those
        that kept an engine busy, `provider_costs` those that may carry a vendor's cost.
        `runs` are facts and reversals with what they say of runs of agents, `extras` what of extras
        facts count, by ordinal.
        `readings` are frames of energy, counters and gaps; one that is not there is empty.
        """
        day = now.astimezone(UTC).date()
        encoded: list[tuple[str, Rows]] = []
        is_large = facts.height and facts.height >= chunk_facts
        added = _added(facts, moves, worked, rows.moved_frames if is_large else _summed)
        of_extras = extra_moves(facts, extras)
        beside = _moved_extras(of_extras)
        chunk, sums, few = None, None, dict[str, pl.DataFrame]()
        frames = {KINDS[name].table: part for name, part in added.items()}
        if facts.height:
            frames["usage_fact"] = rows.fact_frame(facts, stored_day=day)
        if is_large:
            chunk = EncodedChunk.of(frames["usage_fact"], stored_day=day)
            sums = EncodedSums.of({**added, **beside}) if added or beside else None
        elif sum(frame.height for frame in frames.values()) <= few_rows:
            few = frames
        else:
            encoded += [(table, _ENCODE[table](frame)) for table, frame in frames.items()]
        if chunk is None:
            encoded += [
                (KINDS[name].table, KINDS[name].encode(part)) for name, part in beside.items()
            ]
        of_runs = agent_run_frame(runs, extras)
        if of_runs is not None:
            encoded.append(("agent_run_delta", Rows.of(of_runs, AGENT_RUN_COLUMNS)))
        energy, gaps = (readings.get(kind, facts.clear()) for kind in ("energy", "gaps"))
        if energy.height:
            frame = rows.reading_frame(energy, stored_day=day)
            encoded.append(("gpu_reading", Rows.of(frame, rows.READING_COLUMNS)))
        if gaps.height:
            frame = rows.gap_frame(gaps, stored_day=day)
            encoded.append(("meter_gap", Rows.of(frame, rows.GAP_COLUMNS)))
        return cls(
            chunk=chunk,
            sums=sums,
            few=few,
            tables=[(name, table) for name, table in encoded if table.count],
            provider_costs=provider_costs,
            extras=of_extras,
            counters=readings.get("counters", facts.clear()),
            stored_day=day,
            use=use,
        )

    async def copy(self, connection: Connection, batch_seq: int) -> None:
        """Write it under its number."""
        if self.chunk is not None:
            await insert_chunk(connection, self.chunk, batch_seq=batch_seq)
        if self.sums is not None:
            await insert_sums(connection, self.sums, batch_seq=batch_seq)
        if self.few:
            await insert_few(connection, self.few, stored_day=self.stored_day, batch_seq=batch_seq)
        for name, table in self.tables:
            table.number(batch_seq)
            await copy_binary(connection, name, table)
        if self.extras is not None:
            extras = extra_rows(self.extras, batch_seq=batch_seq, stored_day=self.stored_day)
            await copy_rows(connection, "usage_extra", EXTRA_COLUMNS, extras)
        counters = rows.counter_rows(self.counters, batch_seq=batch_seq, stored_day=self.stored_day)
        if counters:
            await copy_rows(connection, "counter_reading", rows.COUNTER_COLUMNS, counters)
        provider_costs = rows.provider_cost_rows(self.provider_costs, batch_seq=batch_seq)
        if provider_costs:
            await copy_rows(
                connection, "provider_claim", rows.PROVIDER_COST_COLUMNS, provider_costs
            )

    async def count_use(self, connection: Connection, batch_seq: int, now: datetime) -> None:
        """Count it in budgets, and settle the reservations it names: the last of a batch, because
        everybody who reserves meanwhile waits for the rows that this locks."""
        if self.use.moves or self.use.named:
            moves, named = self.use.moves, self.use.named
            await count_use(connection, moves, named, batch_seq=batch_seq, now=now)


def _summed(moves: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    return rows.usage_delta_frame(moves), rows.activity_delta_frame(moves)


def _moved_extras(moves: pl.DataFrame | None) -> dict[str, pl.DataFrame]:
    """What extras of a batch add to windows, where they add anything."""
    added = {} if moves is None else {"extras": extra_delta_frame(moves)}
    return {name: frame for name, frame in added.items() if frame.height}


def _added(
    facts: pl.DataFrame,
    moves: pl.DataFrame,
    worked: pl.DataFrame,
    frames_of: Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]],
) -> dict[str, pl.DataFrame]:
    """What a batch adds to windows, a frame a kind, of usage and activity those of `frames_of`."""
    added = {}
    if moves.height:
        added["usage"], added["activity"] = frames_of(moves)
    marks = rows.usage_mark_frame(facts) if facts.height else None
    if marks is not None:
        added["marks"] = marks
    if worked.height:
        added["masks"] = rows.activity_mask_frame(worked)
    return {name: frame for name, frame in added.items() if frame.height}
