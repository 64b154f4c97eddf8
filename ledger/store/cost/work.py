"""Reads what ran in windows: attempts from the facts, and what is known beyond them."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.cost.attempt_rows import ATTEMPT, ENGINE, KEY, rows_of
from ledger.domain.cost.attempt_times import fill_attempts
from ledger.domain.cost.attempts import (
    LONGEST,
    EngineOwner,
    WindowAttempts,
    by_window,
    timed,
)
from ledger.domain.cost.deployment import EngineKey
from ledger.domain.cost.kinds import Four
from ledger.domain.cost.unseen import EngineWindow, engine_work, engines_beyond, unseen_attempts
from ledger.domain.metering.times import micros
from ledger.domain.period import DAY, WINDOW
from ledger.store.cost import cost
from ledger.store.metering.facts import FACT_LAYOUT, Decode, FactSearch, list_fact_readers
from ledger.store.queries import Connection

Part = TypeVar("Part")
_FACTS = {name: pl.Int64 for name in FACT_LAYOUT if name not in {"kind", "flags"}}


@dataclass(frozen=True, slots=True)
class Work:
    """Attempts by window, engine key and owner, and the engine keys they name."""

    by_window: Mapping[int, WindowAttempts]
    keys: Mapping[int, EngineKey]

    def attempts_in(self, window: datetime) -> WindowAttempts:
        """Those that run in a window."""
        return self.by_window.get(micros(window), WindowAttempts())


@dataclass(slots=True)
class _Rows:
    """Attempts in memory that grows where it lies: to put many parts together takes as long as to
    read them."""

    rows: Ints = field(default_factory=lambda: np.empty((0, len(ATTEMPT)), np.int64))

    def more(self, count: int) -> Ints:
        """So many rows behind the others, to be filled in before there are more."""
        known = len(self.rows)
        self.rows.resize((known + count, len(ATTEMPT)), refcheck=False)
        return self.rows[known:]


async def read_work(
    connection: Connection,
    windows: Sequence[datetime],
    batch_seq: int,
    engines: Collection[int] | None = None,
) -> Work:
    """What ran in each of some windows, in order, as known at a cut-off, at all engine keys or at
    some; in one snapshot."""
    attempts = await _read_attempts(connection, windows, batch_seq, engines)
    ran = pl.DataFrame({"engine_key_id": attempts[:, ENGINE], "usage_key_id": attempts[:, KEY]})
    known = ran["usage_key_id"].unique().sort()
    entities = await cost.find_key_entities(connection, usage_key_ids=known)
    keys = await cost.find_engine_keys(connection, engine_key_ids=ran["engine_key_id"].unique())
    # Keys are hashes: their ranks have as few bits as there are keys.
    ranks = _numbered(ran["usage_key_id"], known, np.arange(len(known)))
    owners = [*({*entities.values()} - {None}), None]
    owned = np.array([owners.index(entities.get(key)) for key in known], np.int64)
    at_engine = _numbered(
        ran["engine_key_id"], pl.Series([*keys], dtype=pl.Int64), np.arange(len(keys))
    )
    numbers = at_engine * len(owners) + owned[ranks]
    engine_owners = [EngineOwner(engine, entity_id) for engine in keys for entity_id in owners]
    return Work(by_window(attempts, ranks, numbers, engine_owners), keys)


def _numbered(keys: pl.Series, known: pl.Series, numbers: Ints) -> Ints:
    return keys.replace_strict(known, numbers, return_dtype=pl.Int64).to_numpy()


async def _read_attempts(
    connection: Connection,
    windows: Sequence[datetime],
    batch_seq: int,
    engines: Collection[int] | None,
) -> Ints:
    """Attempts of facts as rows, which are let go part by part as they are read, and what is known
    beyond them."""
    attempts = _Rows()

    def worked(facts: pl.DataFrame) -> Mapping[EngineWindow, Four]:
        fill_attempts(facts, attempts.more(facts.height))
        return engine_work(facts)

    parts = await _read_facts(connection, windows, batch_seq, engines, worked)
    known = await cost.sum_activity(
        connection, windows=windows, batch_seq=batch_seq, engine_key_ids=engines
    )
    beyond = engines_beyond(known, parts)
    if beyond:
        facts = await _read_facts(connection, windows, batch_seq, beyond, lambda facts: facts)
        unseen = await _read_unseen(connection, windows, batch_seq, pl.concat(facts), beyond)
        attempts.more(unseen.height)[:] = rows_of(unseen)
    return attempts.rows


async def _read_unseen(
    connection: Connection,
    windows: Sequence[datetime],
    batch_seq: int,
    facts: pl.DataFrame,
    engines: Collection[int],
) -> pl.DataFrame:
    activity = await cost.read_activity(
        connection, windows=windows, batch_seq=batch_seq, engine_key_ids=engines
    )
    masks = await cost.find_masks(connection, windows=windows, batch_seq=batch_seq)
    busy = {(micros(window), engine): mask for (window, engine), mask in masks.items()}
    return unseen_attempts(activity, facts, busy)


def _at_engines(frame: pl.DataFrame, engines: Collection[int] | None) -> pl.DataFrame:
    return frame if engines is None else frame.filter(pl.col("engine_key_id").is_in(list(engines)))


async def _read_facts(
    connection: Connection,
    windows: Sequence[datetime],
    batch_seq: int,
    engines: Collection[int] | None,
    take: Callable[[pl.DataFrame], Part],
) -> list[Part]:
    """What is taken of each part of the facts; there is one at least."""
    since, until = windows[0] - LONGEST, windows[-1] + WINDOW + LONGEST
    stored_since = (since - DAY).astimezone(UTC).date()
    search = FactSearch(batch_seq, stored_since, since, until, tuple(_FACTS))

    def taken(decode: Decode) -> Part:
        return take(_timed(decode, windows, engines))

    parts = [take(pl.DataFrame(schema=_FACTS))]
    for read in await list_fact_readers(connection, search):
        decode = await read(connection)
        parts.append(await asyncio.to_thread(taken, decode))
    return parts


def _timed(
    decode: Decode, windows: Sequence[datetime], engines: Collection[int] | None
) -> pl.DataFrame:
    facts = _at_engines(decode(), engines)
    return timed(facts, micros(windows[0]), micros(windows[-1] + WINDOW)).select(*_FACTS)
