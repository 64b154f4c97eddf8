"""What stands in a simulated record, and how it is stored: ids, and why some cannot be."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

import polars as pl

from ledger.domain.metering.fact import Fate
from ledger.domain.metering.identities import UNKEYED_SCHEMA, with_keys
from ledger.domain.metering.record import Record, RecordOutcome
from ledger.flows.metering.duplicate_filter import DuplicateFilter
from ledger.flows.metering.duplicates import take_ids
from ledger.flows.metering.ingest import prepare_storage
from ledger.store.connect import draw_batch_seq
from ledger.store.metering.event_keys import copy_event_keys
from tests.simulation.database import Row
from tests.simulation.loop import Process

SOURCE_ID = 1


@dataclass(slots=True)
class Said:
    """What a record says, or why it was refused whole."""

    partition: int
    offset: int
    kind: str
    ids: Sequence[str]
    refusal: str


@dataclass(slots=True)
class Stages:
    """What stands in a record is simple here; `filtered` tells ids as the ledger does."""

    process: Process
    filtered: bool
    duplicate_filter: DuplicateFilter = field(default_factory=DuplicateFilter)
    doubted: bool = False

    async def read(self, records: Iterator[Record], now: datetime) -> list[Said]:  # noqa: ARG002
        """Their ids; ValueError of one that cannot be read."""
        await self.process.spend(0.02)
        found = []
        for record in records:
            _, partition, offset = record.position.split("/")
            said = json.loads(record.body)
            if said["kind"] == "unreadable" and not record.refusal:
                raise ValueError("unreadable")
            found.append(
                Said(int(partition), int(offset), said["kind"], said["ids"], record.refusal)
            )
        return found

    async def offer(self, connection: Any, read: list[Said], now: datetime) -> "Offer":
        """Ready to be stored."""
        if self.process.chance.random() < 0.1:
            async with connection.transaction():
                await draw_batch_seq(connection)
        await self.process.spend(0.02)
        return Offer(self, read, now)


@dataclass(slots=True)
class Offer:
    """Some records."""

    stages: Stages
    said: list[Said]
    now: datetime

    async def attempt(self, connection: Any) -> "Attempt":  # noqa: ARG002  # the protocol's name
        """The next try."""
        own = (Filtered if self.stages.filtered else Attempt)(self.stages, self.said, self.now)
        own.ids = [(SOURCE_ID, n) for one in self.said if not one.refusal for n in one.ids]
        return own

    def look_up_all(self) -> None:
        """Look everything up."""
        self.stages.doubted = True
        self.stages.duplicate_filter.raise_for([SOURCE_ID])

    async def make_partitions(self, connection: Any) -> None:
        """As the worker does."""
        await prepare_storage(connection, now=self.now)


@dataclass(slots=True)
class Attempt:
    """A try: it takes the ids that are new, and keeps how it went; `known` are rows that are not.

    It looks ids up once somebody had them, like the ledger, and takes no pains beyond that.
    """

    stages: Stages
    said: list[Said]
    now: datetime
    ids: list[tuple[int, str]] = field(default_factory=list)
    known: set[int] = field(default_factory=set)

    async def take_ids(self, connection: Any) -> int:
        """Take what is new."""
        taken = await connection.taken(self.ids) if self.stages.doubted else set()
        first: dict[tuple[int, str], int] = {}
        for row, name in enumerate(self.ids):
            if name in taken or first.setdefault(name, row) != row:
                self.known.add(row)
        batch_seq = await draw_batch_seq(connection)
        await connection.take(sorted(first.keys() - taken), batch_seq)
        return batch_seq

    async def write(self, connection: Any, batch_seq: int) -> list[RecordOutcome]:
        """A row a record."""
        rows, outcomes, at = [], [], 0
        for one in self.said:
            fate, counted, kind = "aside", list[str](), ""
            if not one.refusal:
                counted = [n for i, n in enumerate(one.ids, at) if i not in self.known]
                at += len(one.ids)
                fate, kind = "stored", one.kind
            rows.append((Row(one.partition, one.offset, fate, counted), kind, self.now.toordinal()))
            tally = [len(counted)] + [0] * (len(Fate) - 1)
            outcomes.append(RecordOutcome(len(one.ids), batch_seq, 0, tally))
        await connection.keep(rows)
        return outcomes

    async def finish(self, connection: Any) -> None:
        """It counts nothing that others wait for."""


class Filtered(Attempt):
    """One that tells new ids by the ledger's own filter of duplicates."""

    __slots__ = ()

    async def take_ids(self, connection: Any) -> int:
        """Take what is new."""
        named = [
            (row, source, name, blake2b(name.encode(), digest_size=16).digest(), None)
            for row, (source, name) in enumerate(self.ids)
        ]
        keyed = with_keys(pl.DataFrame(named, schema=UNKEYED_SCHEMA, orient="row"))
        claims, rest = await take_ids(connection, keyed, self.stages.duplicate_filter)
        self.known = set(rest.fates)
        batch_seq = await draw_batch_seq(connection)
        framed = claims.framed()
        if framed.height:
            await copy_event_keys(connection, framed, batch_seq=batch_seq)
        return batch_seq
