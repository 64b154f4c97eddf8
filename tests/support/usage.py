"""Events to send and books to compare, for tests of ingest."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from ledger.domain.author import Author
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.permission import Binding, Permission
from ledger.domain.metering.record import Record, RecordOutcome
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import ingest, prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.reference.parties import enter_customer, enter_entity
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.wire.batch import BatchHeader
from ledger.wire.inputs import read_input
from ledger.wire.party_inputs import NewCustomer, NewEntity
from tests.support.encoded import encode_events

NOW = datetime(2026, 8, 6, 12, tzinfo=UTC)
AUTHOR = Author("cli:test", "for a test", "req-1")
SOURCE = "/gateways/eu-1"
Event = dict[str, Any]


def attempt(event_id: str = "e1", *, minute: int = 0, tokens: int = 10, **data: Any) -> Event:
    """A usage event of customer acme that ended at 11:MM."""
    used = {"input": {"uncached": tokens, "cache_read": 0, "cache_write": 0}}
    used["output"] = {"visible": 2 * tokens, "reasoning": 0}
    said = {"customer_id": "acme", "served_model": "llama", "usage": used}
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": "inference.usage.v1",
        "time": f"2026-08-06T11:{minute:02}:30Z",
        "data": said | data,
    }


def correction(event_id: str, *, of: str, revision: int, **said: Any) -> Event:
    """A full replacement of the event `of`."""
    event = attempt(event_id, **said)
    event["type"] = "inference.usage.correction.v1"
    event["data"] |= {"revision": revision, "supersedes": of}
    return event


def keyed(*events: Event) -> Record:
    """A record of events with ids of their own."""
    return Record(encode_events(events))


def sequenced(
    events: Sequence[Event], *, sequence: int = 1, epoch: int = 1, producer: str = "p1"
) -> Record:
    """A numbered batch: its events take their places as ids."""
    placed = [
        event | {"id": f"{epoch}.{sequence}.{n}", "source": "/hosts/a"}
        for n, event in enumerate(events)
    ]
    header = BatchHeader("/hosts/a", producer, epoch, sequence, len(events))
    return Record(encode_events(placed), header)


def bound_to(sources: Iterable[str], *customers: str) -> Permission:
    """What a key may write that is bound to these."""
    return Binding(frozenset(sources), frozenset(customers)).permission(Directory())


class Gate:
    """Ingest with its cache, as one process has it."""

    def __init__(self, connection: Connection, limits: IngestLimits | None = None) -> None:
        self.connection = connection
        self.directory = DirectoryCache()
        self.limits = limits or IngestLimits()

    async def send(self, *records: Record, now: datetime = NOW) -> list[RecordOutcome]:
        """One call."""
        return await ingest(
            self.connection, records, directory=self.directory, now=now, limits=self.limits
        )

    async def outcomes(self, *records: Record) -> list[str]:
        """The outcome of every item of one call."""
        return [item.outcome for found in await self.send(*records) for item in found.items()]


async def open_books(connection: Connection) -> None:
    """An entity with one customer, and room for facts."""
    entity = {"entity_id": "factory", "name": "Factory", "currency": "EUR", "zone": "UTC"}
    await enter_entity(connection, read_input(NewEntity, entity), AUTHOR)
    await add_customer(connection, "acme")
    await prepare_storage(connection, now=NOW)


async def make_room(worker_url: str) -> None:
    """The days that `open_books` asks for."""
    connection = await connect(worker_url)
    try:
        await prepare_storage(connection, now=NOW)
    finally:
        await connection.close()


async def add_customer(connection: Connection, customer_id: str) -> None:
    """A customer of the factory."""
    new = {"customer_id": customer_id, "entity_id": "factory", "name": customer_id}
    await enter_customer(connection, read_input(NewCustomer, new), AUTHOR)


async def windows(connection: Connection) -> list[tuple[Any, ...]]:
    """Every window by natural key, as its deltas add up."""
    rows = await connection.fetch(
        """SELECT k.customer_id, k.customer_ref, k.tier, k.model, d.window_start,
                  sum(d.requests) AS requests, sum(d.uncached) AS uncached,
                  sum(d.visible) AS visible, d.customer_id AS billed
             FROM usage_delta d JOIN usage_key k USING (usage_key_id)
            GROUP BY 1, 2, 3, 4, 5, 9
           HAVING sum(d.requests) <> 0 OR sum(d.uncached) <> 0 OR sum(d.visible) <> 0
            ORDER BY 1, 2, 3, 4, 5"""
    )
    return [tuple(row) for row in rows]


async def windows_of_facts(connection: Connection) -> list[tuple[Any, ...]]:
    """The same, recomputed from the facts alone."""
    rows = await connection.fetch(
        """SELECT k.customer_id, k.customer_ref, k.tier, k.model,
                  date_bin('15 minutes', f.time, 'epoch'::timestamptz) AS window_start,
                  sum(f.requests) AS requests, sum(f.uncached) AS uncached,
                  sum(f.visible) AS visible, k.customer_id AS billed
             FROM usage_fact f JOIN usage_key k USING (usage_key_id)
            GROUP BY 1, 2, 3, 4, 5
           HAVING sum(f.requests) <> 0 OR sum(f.uncached) <> 0 OR sum(f.visible) <> 0
            ORDER BY 1, 2, 3, 4, 5"""
    )
    return [tuple(row) for row in rows]


async def activity(connection: Connection) -> list[tuple[Any, ...]]:
    """Tokens by engine, window and customer."""
    rows = await connection.fetch(
        """SELECT e.engine_instance, e.model, d.window_start, k.customer_ref, k.customer_id,
                  sum(d.uncached) AS uncached, sum(d.output) AS output
             FROM activity_delta d JOIN engine_key e USING (engine_key_id)
             JOIN usage_key k USING (usage_key_id)
            GROUP BY 1, 2, 3, 4, 5 HAVING sum(d.uncached) <> 0 OR sum(d.output) <> 0
            ORDER BY 1, 2, 3, 4, 5"""
    )
    return [tuple(row) for row in rows]


async def fates(connection: Connection) -> dict[str, int]:
    """The receipts' sums; the database has checked that each adds up."""
    row = await connection.fetchrow(
        """SELECT sum(received) AS received, sum(counted) AS counted, sum(duplicate) AS duplicate,
                  sum(conflict) AS conflict, sum(quarantined) AS quarantined,
                  sum(superseded) AS superseded, sum(suspense) AS suspense FROM receipt"""
    )
    assert row is not None
    return {name: int(value) for name, value in dict(row).items() if value}


def text(events: Iterable[Event]) -> bytes:
    """A JSON array of events."""
    return json.dumps(list(events)).encode()
