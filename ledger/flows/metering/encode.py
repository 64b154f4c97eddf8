"""Encodes the rows of a batch from its frames: facts, the moves of windows, busy seconds."""

from collections.abc import Collection
from datetime import datetime

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Ints
from ledger.domain.frames import MANY_ROWS, mapped, only, repeated, with_series
from ledger.domain.metering.budget_use import budget_use
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.extras import extra_counts, joined, renumbered
from ledger.domain.metering.fact import Flag
from ledger.domain.metering.judge import KEYED, form_of
from ledger.domain.metering.prepare import Prepared
from ledger.domain.metering.rows import FACTS, hash_end_users, reverse
from ledger.domain.metering.spread import MOVES, condensed
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.stored import Stored


def encode(
    prepared: Prepared,
    directory: Directory,
    *,
    now: datetime,
    limits: IngestLimits,
    superseded: Collection[int] = (),
    reversals: pl.DataFrame | None = None,
    reversed_extras: pl.DataFrame | None = None,
) -> Stored:
    """The rows of what is still in the frames, of `superseded` rows undone again, and reversals,
    with the extras that these take back."""
    users = hash_end_users(prepared.usage["end_user_id"], limits.end_user_secret)
    facts = with_series(
        _placed(prepared, directory, prepared.usage),
        users.alias("end_user"),
        repeated("sign", 1, prepared.usage.height, pl.Int64),
    )
    standing, extras = facts, [extra_counts(facts), reversed_extras]
    others = [] if reversals is None else [reversals.select(FACTS)]
    moved = list(others)
    if superseded:
        gone = pl.col("ordinal").is_in(list(superseded))
        facts = facts.with_columns(
            flags=pl.col("flags") + pl.when(gone).then(int(Flag.SUPERSEDED)).otherwise(0)
        )
        standing = facts.filter(~gone)
        first = len(prepared.items) + (0 if reversals is None else reversals.height)
        undone = facts.filter(gone)
        extras.append(renumbered(extras[0], undone["ordinal"], first=first))
        others = [reverse(undone, first_ordinal=first).select(FACTS), *others]
    counted = joined(extras)
    return Stored.of(
        pl.concat([only(facts, FACTS), *others]),
        moves=pl.concat([_moves(standing), *(only(rows, MOVES) for rows in moved)]),
        # Whichever of its versions stands: a mask cannot be taken back, and order must not tell.
        worked=facts,
        provider_costs=facts,
        readings={
            kind: _placed(prepared, directory, frame)
            for kind, frame in prepared.readings.items()
            if frame.height
        },
        use=budget_use([standing, *moved], standing, directory.budgeted, counted),
        runs=[standing, *moved],
        extras=counted,
        now=now,
        chunk_facts=limits.chunk_facts,
        few_rows=limits.few_rows,
    )


def _moves(facts: pl.DataFrame) -> pl.DataFrame:
    """What facts add to windows; few are added up once, there."""
    return condensed(facts) if facts.height >= MANY_ROWS else only(facts, MOVES)


def _placed(prepared: Prepared, directory: Directory, frame: pl.DataFrame) -> pl.DataFrame:
    """Adds what the call knows of its rows: source, lane and ordinal; a place needs no id."""
    records = prepared.records
    owners = prepared.items.owners[frame["row"].to_numpy()]
    lanes = np.array([record.lane for record in records], np.int16)
    own = np.array([form_of(prepared, n) == KEYED for n in range(len(records))], np.bool_)
    return with_series(
        frame,
        _source_ids(prepared, directory, frame, owners),
        pl.Series("lane", lanes[owners]),
        _own_ids(frame, own[owners]).alias("event_id"),
        frame["row"].cast(pl.Int32).alias("ordinal"),
    )


def _own_ids(frame: pl.DataFrame, own: Bools) -> pl.Series:
    if own.all():
        return frame["id"]
    if not own.any():
        return repeated("id", None, frame.height, pl.String)
    return frame.select(pl.when(pl.Series(own)).then("id")).to_series()


def _source_ids(
    prepared: Prepared, directory: Directory, frame: pl.DataFrame, owners: Ints
) -> pl.Series:
    known = {name: source.source_id for name, source in directory.sources.items()}
    headers = [record.header for record in prepared.records]
    if None in headers:
        return mapped(frame["source"], known).alias("source_id")
    # All rows of a batch have its source: others were refused.
    ids = [known.get(header.source, 0) for header in headers if header]
    return pl.Series("source_id", np.array(ids, np.int32)[owners])
