"""Reads and writes revisions of events, and the facts that stand for them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from ledger.domain.metering.batch_identity import BatchIdentity
from ledger.domain.metering.supersede import Candidate, StoredRevision
from ledger.domain.metering.target import CorrectionTarget
from ledger.domain.metering.times import micros
from ledger.store.copying import copy_rows
from ledger.store.queries import Connection, load_queries

CORRECTION = load_queries("metering/correction")
FATE_CHANGE_COLUMNS = (
    *("batch_seq", "ordinal", "fact_batch_seq", "fact_ordinal"),
    *("from_fate", "to_fate", "reason"),
)
_TIMES = ("time", "started_at", "first_token_at", "ended_at")
_COUNTS = ("requests", "uncached", "cache_read", "cache_write", "visible", "reasoning")
_SCHEMA = pl.Schema(
    {
        **dict.fromkeys(("n", "batch_seq", "ordinal"), pl.Int64),
        "lane": pl.Int16,
        "kind": pl.Int8,
        "flags": pl.Int32,
        "source_id": pl.Int32,
        **dict.fromkeys(("usage_key_id", "engine_key_id", *_TIMES), pl.Int64),
        **dict.fromkeys(("queue_ms", *_COUNTS), pl.Int64),
        **dict.fromkeys(("event_id", "agent_run_id", "end_user", "customer_id"), pl.String),
    }
)


@dataclass(frozen=True, slots=True)
class FateChange:
    """A stored item that changes its fate; `ordinal` is the row of this batch that stands now."""

    ordinal: int
    fact_batch_seq: int
    fact_ordinal: int
    from_fate: str
    to_fate: str
    reason: str


async def find_corrections(
    connection: Connection, targets: Sequence[CorrectionTarget]
) -> dict[CorrectionTarget, list[StoredRevision]]:
    """Stored members of targets."""
    rows = await CORRECTION["find_corrections"].rows(
        connection,
        source_ids=[target.source_id for target in targets],
        targets=[target.target for target in targets],
    )
    found: dict[CorrectionTarget, list[StoredRevision]] = defaultdict(list)
    for row in rows:
        member = dict(row)
        found[targets[member.pop("n") - 1]].append(StoredRevision(**member))
    return dict(found)


async def find_corrected_ids(
    connection: Connection, places: Sequence[BatchIdentity]
) -> list[CorrectionTarget]:
    """Events of these batches that have been corrected."""
    rows = await CORRECTION["find_corrected_ids"].rows(
        connection,
        source_ids=[place.source_id for place in places],
        prefixes=[f"{place.producer}/{place.epoch}/{place.sequence}" for place in places],
    )
    return [CorrectionTarget(row["source_id"], row["target"]) for row in rows]


async def insert_corrections(
    connection: Connection,
    revisions: Sequence[tuple[CorrectionTarget, Candidate]],
    *,
    batch_seq: int,
) -> int:
    """Remember revisions; returns how many were new."""
    revisions = sorted(revisions, key=lambda one: (one[0], one[1].owner, one[1].revision))
    return await CORRECTION["insert_corrections"].run(
        connection,
        source_ids=[target.source_id for target, _ in revisions],
        targets=[target.target for target, _ in revisions],
        owners=[one.owner for _, one in revisions],
        revisions=[one.revision for _, one in revisions],
        originals=[one.original for _, one in revisions],
        digests=[one.digest for _, one in revisions],
        ordinals=[one.row for _, one in revisions],
        batch_seq=batch_seq,
    )


@dataclass(frozen=True, slots=True)
class FirstFact:
    """What came first to a place, and whose it is: usage after `depth` changes of fate, or None.

    What is `refused` waits in quarantine.
    """

    depth: int | None
    customer_id: str | None
    refused: bool

    @property
    def is_usage(self) -> bool:
        """Whether any usage came."""
        return self.depth is not None


async def find_first(connection: Connection, places: Sequence[tuple[int, int]]) -> list[FirstFact]:
    """What came first to each (batch_seq, ordinal), in their order."""
    rows = await CORRECTION["find_first"].rows(
        connection,
        batch_seqs=[batch_seq for batch_seq, _ in places],
        ordinals=[ordinal for _, ordinal in places],
    )
    return [FirstFact(row["depth"], row["customer_id"], row["refused"]) for row in rows]


async def find_standing(connection: Connection, places: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """The facts that stand for (batch_seq, ordinal) places; `n` is the position, from 0."""
    rows = await CORRECTION["find_standing"].rows(
        connection,
        batch_seqs=[batch_seq for batch_seq, _ in places],
        ordinals=[ordinal for _, ordinal in places],
    )
    return fact_rows_frame([dict(row) | {"n": row["n"] - 1} for row in rows])


def fact_rows_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Stored facts as a frame, times in microseconds."""
    columns = {
        name: pl.Series(name, [_plain(row[name]) for row in rows], dtype)
        for name, dtype in _SCHEMA.items()
    }
    return pl.DataFrame(columns)


def fact_frame(facts: pl.DataFrame) -> pl.DataFrame:
    """Facts with `n` and `customer_id`, as they lie in chunks and files, in the same form."""
    return pl.DataFrame(facts.select(*_SCHEMA), schema_overrides=_SCHEMA)


async def copy_fate_changes(
    connection: Connection, changes: Sequence[FateChange], *, batch_seq: int
) -> None:
    """Changes of fate; a row that has changed already is refused by its primary key."""
    rows = [
        (
            *(batch_seq, one.ordinal, one.fact_batch_seq, one.fact_ordinal),
            *(one.from_fate, one.to_fate, one.reason),
        )
        for one in sorted(changes, key=lambda c: (c.fact_batch_seq, c.fact_ordinal))
    ]
    await copy_rows(connection, "fate_change", FATE_CHANGE_COLUMNS, rows)


def _plain(value: Any) -> Any:
    return micros(value) if isinstance(value, datetime) else value
