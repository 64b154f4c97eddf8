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
    revisions: dict[CorrectionTarget, list[StoredRevision]] = defaultdict(list)
    for row in rows:
        member = dict(row)
        revisions[targets[member.pop("n") - 1]].append(StoredRevision(**member))
    return dict(revisions)


async def find_corrected_ids(
    connection: Connection, identities: Sequence[BatchIdentity]
) -> list[CorrectionTarget]:
    """Events of these batches that have been corrected."""
    rows = await CORRECTION["find_corrected_ids"].rows(
        connection,
        source_ids=[identity.source_id for identity in identities],
        prefixes=[
            f"{identity.producer}/{identity.epoch}/{identity.sequence}" for identity in identities
        ],
    )
    return [CorrectionTarget(row["source_id"], row["target"]) for row in rows]


async def insert_corrections(
    connection: Connection,
    revisions: Sequence[tuple[CorrectionTarget, Candidate]],
    *,
    batch_seq: int,
) -> int:
    """Remember revisions; returns how many were new."""
    revisions = sorted(
        revisions, key=lambda revision: (revision[0], revision[1].owner, revision[1].revision)
    )
    return await CORRECTION["insert_corrections"].run(
        connection,
        source_ids=[target.source_id for target, _ in revisions],
        targets=[target.target for target, _ in revisions],
        owners=[revision.owner for _, revision in revisions],
        revisions=[revision.revision for _, revision in revisions],
        originals=[revision.original for _, revision in revisions],
        digests=[revision.digest for _, revision in revisions],
        ordinals=[revision.row for _, revision in revisions],
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


async def find_first(connection: Connection, keys: Sequence[tuple[int, int]]) -> list[FirstFact]:
    """What came first to each (batch_seq, ordinal), in their order."""
    rows = await CORRECTION["find_first"].rows(
        connection,
        batch_seqs=[batch_seq for batch_seq, _ in keys],
        ordinals=[ordinal for _, ordinal in keys],
    )
    return [FirstFact(row["depth"], row["customer_id"], row["refused"]) for row in rows]


async def find_standing(connection: Connection, keys: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """The facts that stand for (batch_seq, ordinal) places; `n` is the position, from 0."""
    rows = await CORRECTION["find_standing"].rows(
        connection,
        batch_seqs=[batch_seq for batch_seq, _ in keys],
        ordinals=[ordinal for _, ordinal in keys],
    )
    return fact_rows_frame([dict(row) | {"n": row["n"] - 1} for row in rows])


async def find_row_event_ids(
    connection: Connection, keys: Sequence[tuple[int, int]]
) -> dict[int, str | None]:
    """The ids of facts in rows at (batch_seq, ordinal) places, by position from 0."""
    rows = await CORRECTION["find_row_event_ids"].rows(
        connection,
        batch_seqs=[batch_seq for batch_seq, _ in keys],
        ordinals=[ordinal for _, ordinal in keys],
    )
    return {int(row["n"]) - 1: row["event_id"] for row in rows}


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
            *(batch_seq, change.ordinal, change.fact_batch_seq, change.fact_ordinal),
            *(change.from_fate, change.to_fate, change.reason),
        )
        for change in sorted(changes, key=lambda c: (c.fact_batch_seq, c.fact_ordinal))
    ]
    await copy_rows(connection, "fate_change", FATE_CHANGE_COLUMNS, rows)


def _plain(value: Any) -> Any:
    return micros(value) if isinstance(value, datetime) else value
