"""Batches on their way into the books: while one is stored, the next is encoded and the one after
it is decoded, each step on a core of its own where there is one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger.domain.ingest.record import Record, RecordOutcome
from ledger.flows.directory import DirectoryCache
from ledger.flows.ingest import IngestLimits, prepare_records, resolve_prepared, store_prepared
from ledger.store.positions import PositionMove
from ledger.store.queries import Connection

IN_FLIGHT_MAX = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """What was polled at once, and how far it moves each partition."""

    records: Sequence[Record]
    moves: Sequence[PositionMove]
    now: datetime


@dataclass(slots=True)
class Pipeline:
    """Two connections: one registers names, the other stores; batches leave as they came."""

    registrar: Connection
    writer: Connection
    limits: IngestLimits
    directory: DirectoryCache = field(default_factory=DirectoryCache)
    # A lock serves who came first, so that no batch overtakes another between two steps.
    _decoding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _encoding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _storing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def store(self, batch: Batch) -> list[RecordOutcome]:
        """What became of each record; raises what `ingest` raises, and nothing was stored then."""
        async with self._decoding:
            prepared = await prepare_records(batch.records, now=batch.now, limits=self.limits)
        async with self._encoding:
            resolved = await resolve_prepared(
                self.registrar,
                prepared,
                directory=self.directory,
                now=batch.now,
                limits=self.limits,
            )
        async with self._storing:
            return await store_prepared(
                self.writer,
                prepared,
                directory=self.directory,
                now=batch.now,
                limits=self.limits,
                moves=batch.moves,
                resolved=resolved,
            )
