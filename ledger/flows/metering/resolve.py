"""Says what the rows of a call mean by the slow facts, and encodes them as if all were new."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.errors import ConflictError
from ledger.domain.frames import mapped, with_series
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.identities import KEYED_SCHEMA, with_keys
from ledger.domain.metering.judge import (
    keyed_rows,
    refuse_customers,
    refuse_forms,
    refuse_readings,
    refuse_sources,
)
from ledger.domain.metering.key import Keyed, KeyedNames, assign_keys
from ledger.domain.metering.known_keys import KnownKeys
from ledger.domain.metering.prepare import Prepared
from ledger.domain.metering.supersede import find_targets, forms_of_taken, named_sources
from ledger.domain.metering.target import CorrectionTarget
from ledger.flows.metering.beside import beside
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.encode import encode
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.stored import Stored
from ledger.store.connect import draw_batch_seq
from ledger.store.metering import ingest as store
from ledger.store.queries import Connection

T = TypeVar("T")
KEYS_AT_ONCE = 4_096


class KeyCollisionError(ConflictError):
    """Two different keys have one content hash."""


@dataclass(slots=True)
class ResolvedCall:
    """A call that is ready to be stored; `stored` holds unless the database knows some of it.

    `keyed` has the rows with ids of their own, and their digests (KEYED_SCHEMA).
    """

    prepared: Prepared
    directory: Directory
    targets: Mapping[int, CorrectionTarget]
    keyed: pl.DataFrame
    stored: Stored
    encoded: tuple[pl.DataFrame, ...]

    def is_whole(self) -> bool:
        """Whether no row was dropped since it was encoded."""
        return all(
            now is then for now, then in zip(self.prepared.frames, self.encoded, strict=True)
        )


async def resolve(
    connection: Connection,
    prepared: Prepared,
    *,
    directory: DirectoryCache,
    now: datetime,
    limits: IngestLimits,
) -> ResolvedCall:
    """Register what is named for the first time, refuse what may not be, and encode the rest.

    KeyCollisionError where two keys have one hash. `connection` is not inside a transaction.
    """
    refuse_sources(prepared)
    refuse_readings(prepared)
    known = await _register_sources(connection, prepared, directory)
    refuse_forms(prepared, known)
    targets = find_targets(prepared, known)
    rows = prepared.usage.height
    keyed = await beside(rows, assign_keys, prepared.usage, known, directory.resolved)
    prepared.usage = keyed.frame
    await _register_keys(connection, keyed, directory)
    stored = await beside(rows, encode, prepared, known, now=now, limits=limits)
    own = await beside(rows, _keyed, prepared, known)
    return ResolvedCall(prepared, known, targets, own, stored, prepared.frames)


def _keyed(prepared: Prepared, directory: Directory) -> pl.DataFrame:
    rows = keyed_rows(prepared)
    if rows.height == 0:
        return pl.DataFrame(schema=KEYED_SCHEMA)
    sources = {name: known.source_id for name, known in directory.sources.items()}
    keyed = with_series(
        rows,
        mapped(rows["source"], sources).alias("source_id"),
        _owners(prepared, rows["row"]),
        _digests(prepared.own, rows["row"].to_numpy()),
    )
    return with_keys(keyed)


def _digests(own: pl.DataFrame, rows: Ints) -> pl.Series:
    digested = own["row"].to_numpy()
    order = np.argsort(digested, kind="stable")
    known = order[np.searchsorted(digested[order], rows)]
    assert (digested[known] == rows).all(), "digests are taken before a call is resolved"
    digests: pl.Series = own["digest"][known]
    return digests


def _owners(prepared: Prepared, rows: pl.Series) -> pl.Series:
    owners = [prepared.owner_of(n) or None for n in range(len(prepared.records))]
    if not any(owners):
        return pl.Series("owner", [None], pl.String).new_from_index(0, len(rows))
    records = prepared.items.owners[rows.to_numpy()]
    named: pl.Series = pl.Series("owner", owners, pl.String)[records]
    return named


async def _register_sources(
    connection: Connection, prepared: Prepared, directory: DirectoryCache
) -> Directory:
    """Sources and keys say nothing about usage, so they commit at once and hold up nobody.

    Customers are judged on the way: who is refused everything decides no form, not even its own.
    """
    known = await directory.read(connection)
    refuse_customers(prepared, known)
    forms, named = forms_of_taken(prepared, known), named_sources(prepared, known)
    if not forms and not named:
        return known
    of_house = {source: form for source, owner, form in forms if not owner}
    of_bound = [each for each in forms if each[1]]
    nameless = {source for source, _, _ in of_bound} - known.sources.keys()
    fresh = [(name, of_house.get(name)) for name in sorted({*of_house, *nameless, *named})]
    async with connection.transaction():
        batch_seq = await draw_batch_seq(connection)
        if fresh:
            await store.insert_sources(connection, fresh, batch_seq=batch_seq)
        if of_bound:
            await store.insert_source_forms(connection, of_bound, batch_seq=batch_seq)
    known = await directory.read(connection)
    # What a customer's name means may have changed, and by this it is stored.
    refuse_customers(prepared, known)
    return known


async def _register_keys(connection: Connection, keyed: Keyed, directory: DirectoryCache) -> None:
    new = await beside(keyed.ids.usage.size, keyed.beyond, directory.known_keys)
    # Some at a time: names of many new customers are more than all else of a batch.
    for at in range(0, len(new), KEYS_AT_ONCE):
        some = new[at : at + KEYS_AT_ONCE]
        named = await beside(len(some), keyed.named, some)
        await _register(connection, named, directory.known_keys)


async def _register(connection: Connection, named: Sequence[KeyedNames], known: KnownKeys) -> None:
    usage = {names.usage.usage_key_id: names.usage for names in named}
    engine = {names.engine.engine_key_id: names.engine for names in named}
    new_usage, new_engine = _beyond(known, usage), _beyond(known, engine)
    if new_usage:
        stored = await store.insert_usage_keys(connection, [usage[n] for n in new_usage])
        # What was stored just now is what was offered.
        if stored < len(new_usage):
            _check_keys(usage, await store.find_usage_keys(connection, new_usage))
    if new_engine:
        await store.insert_engine_keys(connection, [engine[n] for n in new_engine])
        _check_keys(engine, await store.find_engine_keys(connection, new_engine))
    known.add(np.array([*new_usage, *new_engine], np.int64))


def _beyond(known: KnownKeys, ids: Iterable[int]) -> list[int]:
    """Those that are not known, in the order in which all writers insert them."""
    asked = np.sort(np.fromiter(ids, np.int64))
    beyond: list[int] = asked[known.lacks(asked)].tolist()
    return beyond


def _check_keys(offered: dict[int, T], stored: dict[int, T]) -> None:
    for key_id, key in stored.items():
        if offered[key_id] != key:
            raise KeyCollisionError(
                f"Two keys have the hash {key_id}: {key} is stored, {offered[key_id]} was sent.",
                "Nothing of the batch was stored; rename one of the two.",
            )
