"""Turns records into checked frames, refusals and digests: all of ingest that needs no database.

Invariant: each item has one row, counted through all records of the call; a row is in one frame or
refused, never both, never neither.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.frames import keep_rows, only
from ledger.domain.metering.columnar import read_columnar
from ledger.domain.metering.columns import (
    counters_frame,
    energy_frame,
    gaps_frame,
    no_counters,
    no_energy,
    no_gaps,
    no_usage,
    usage_frame,
)
from ledger.domain.metering.decode import Reject, decode_items, reject
from ledger.domain.metering.digest import DIGESTS, batch_digests, content_digests
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.items import COMPILED_BYTES_MIN, Items, split_records
from ledger.domain.metering.names import names, with_digests
from ledger.domain.metering.parts import Part, frames_of
from ledger.domain.metering.record import Record
from ledger.domain.metering.structs import CountersEvent, DecodedEvent, EnergyEvent, MeterGapEvent
from ledger.domain.metering.times import micros
from ledger.domain.metering.unknown import Unknown, count_unknown
from ledger.domain.metering.validate import (
    EARLIEST,
    finer_than_amount,
    meanings,
    suspect_energy,
    untimely,
)
from ledger.wire.batch import BatchHeader, ordinal_id
from ledger.wire.limits import ENERGY
from ledger.wire.ndjson import decode_line
from ledger.wire.parse import explain


@dataclass(slots=True)
class Prepared:
    """The items of a call, and a frame of what is still to be counted of each kind.

    `decoded` are the frames before any row was dropped, `batches` the digest of each complete
    sequenced record, `own` the digests of rows with ids of their own (`row` and `digest`),
    `unknown` the attributes that nobody reads, by record, `senders` who sent what was decoded, once
    that was asked.
    """

    items: Items
    usage: pl.DataFrame
    energy: pl.DataFrame
    counters: pl.DataFrame
    gaps: pl.DataFrame
    rejects: dict[int, Reject]
    decoded: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    batches: dict[int, UUID] = field(default_factory=dict)
    unknown: Unknown = field(default_factory=dict)
    senders: Sequence[tuple[str, int]] | None = None
    own: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DIGESTS))

    @property
    def frames(self) -> tuple[pl.DataFrame, ...]:
        """What is still to be counted, a frame of each kind."""
        return (self.usage, *self.readings.values())

    @property
    def readings(self) -> Mapping[str, pl.DataFrame]:
        """Those of them that are no usage, by kind."""
        return {"energy": self.energy, "counters": self.counters, "gaps": self.gaps}

    @property
    def records(self) -> Sequence[Record]:
        """The records of the call."""
        return self.items.records

    def header_of(self, row: int) -> BatchHeader | None:
        """The header of a row's record."""
        return self.records[int(self.items.owners[row])].header

    def owner_of(self, record: int) -> str:
        """Whose a record's claims are; empty: the house's."""
        allowed = self.records[record].permission
        return "" if allowed is None else allowed.owner

    def fork(self) -> "Prepared":
        """A copy whose frames and refusals may change."""
        return replace(self, rejects=dict(self.rejects))

    def digests(self, rows: Iterable[int]) -> dict[int, UUID]:
        """The content digest of decoded rows."""
        digests = content_digests(self.decoded, pl.Series(list(rows), dtype=pl.Int64))
        return {row: UUID(bytes=digest) for row, digest in digests.iter_rows()}

    def ids(self, rows: Iterable[int]) -> dict[int, str]:
        """The ids of those rows that were decoded; of a sequenced event its place."""
        wanted = np.fromiter(rows, np.int64)
        own: dict[int, str | None] = {}
        for frame in self.decoded.values():
            there = only(frame, ("row", "id"))
            own.update(keep_rows(there, np.isin(there["row"].to_numpy(), wanted)).rows())
        return {row: event_id or self._identity_of(row) for row, event_id in own.items()}

    def _identity_of(self, row: int) -> str:
        header = self.header_of(row)
        assert header is not None
        ordinal = row - int(self.items.firsts[self.items.owners[row]])
        return ordinal_id(epoch=header.epoch, sequence=header.sequence, ordinal=ordinal)


def prepare(
    records: Sequence[Record],
    *,
    now: datetime,
    body_bytes_max: int,
    earliest: datetime = EARLIEST,
) -> Prepared:
    """Decode and check every item of the records; `now` decides what lies in the future."""
    items = split_records(records, body_bytes_max=body_bytes_max)
    prepared = prepare_items(items, now=now, earliest=earliest)
    digest_batches(prepared)
    return prepared


def prepare_items(items: Items, *, now: datetime, earliest: datetime = EARLIEST) -> Prepared:
    """The part of `prepare` that reads bodies, once these are laid out."""
    prepared = _decode(items)
    _check(prepared, micros(now), micros(earliest))
    return prepared


def digest_batches(prepared: Prepared) -> None:
    """Take the digests by which batches with a place are told from others."""
    prepared.batches = batch_digests(prepared.decoded, prepared.items)


def _decode(items: Items) -> Prepared:
    rejects = dict(items.rejects)
    parts, rest = _read_shaped(items)
    frames = frames_of(parts)
    strict = _decode_each(items, rest)
    rejects.update(strict.rejects)
    usage = [usage_frame(*strict.usage) if strict.usage[0] else no_usage()]
    usage += [frame for kind, frame in frames if kind != ENERGY]
    energy = [energy_frame(*strict.energy) if strict.energy[0] else no_energy()]
    energy += [frame for kind, frame in frames if kind == ENERGY]
    return Prepared(
        items=items,
        usage=_understood(_joined(usage)),
        energy=_joined(energy),
        counters=counters_frame(*strict.counters) if strict.counters[0] else no_counters(),
        gaps=gaps_frame(*strict.gaps) if strict.gaps[0] else no_gaps(),
        rejects=rejects,
        unknown=count_unknown(items, parts, (*strict.usage[1], *strict.energy[1])),
    )


def _understood(usage: pl.DataFrame) -> pl.DataFrame:
    """Attempts with what follows from their fields: names, main leaves, what may be wrong, meters,
    flags and context band."""
    return _with_meanings(usage) if usage.height else _no_usage_understood()


@cache
def _no_usage_understood() -> pl.DataFrame:
    return _with_meanings(no_usage())


def _with_meanings(usage: pl.DataFrame) -> pl.DataFrame:
    columns = usage.get_columns()
    said = frozenset(each.name for each in columns if each.null_count() < len(each))
    means = meanings(said)
    # In one plan: of a small batch each costs more than what it does.
    understood = (
        usage.lazy()
        .with_columns(*means.main_leaves, **names(said))
        .drop("customer_id")
        .with_columns(means.suspicion, **means.counts)
        .with_columns(**means.marks)
        .collect(optimizations=pl.QueryOptFlags.none())
    )
    return with_digests(understood)


def _read_shaped(items: Items) -> tuple[Sequence[Part], Ints]:
    rows = items.readable()
    parts, rest = _read_columnar(items)
    if items.octets.size < COMPILED_BYTES_MIN or rows.size == 0:
        return parts, np.sort(np.concatenate([rows, *rest]))
    # Loaded here, because most processes never meet a large body.
    from ledger.domain.metering.fast import read_shaped

    shaped = read_shaped(items, rows)
    return [*parts, *shaped.parts], np.sort(np.concatenate([shaped.rest, *rest]))


def _read_columnar(items: Items) -> tuple[list[Part], list[Ints]]:
    parts: list[Part] = []
    rest: list[Ints] = []
    for record, batch in items.batches.items():
        first = int(items.firsts[record])
        read = read_columnar(batch, items.records[record].header, first)
        parts += read.parts
        rest.append(read.rest + first)
    return parts, rest


def _joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    filled = [frame for frame in frames if frame.height]
    ordered = [only(frame, frames[0].columns) for frame in filled]
    if len(ordered) < 2:
        return ordered[0] if ordered else frames[0]
    return pl.concat(ordered).sort("row")


Events = tuple[list[Any], list[int]]


@dataclass(slots=True)
class _Strict:
    """Rows that were decoded one by one, by their kind."""

    usage: Events = field(default_factory=lambda: ([], []))
    energy: Events = field(default_factory=lambda: ([], []))
    counters: Events = field(default_factory=lambda: ([], []))
    gaps: Events = field(default_factory=lambda: ([], []))
    rejects: dict[int, Reject] = field(default_factory=dict)

    def of(self, event: DecodedEvent) -> Events:
        """Where an event belongs."""
        if isinstance(event, EnergyEvent):
            return self.energy
        if isinstance(event, CountersEvent):
            return self.counters
        return self.gaps if isinstance(event, MeterGapEvent) else self.usage


def _decode_each(items: Items, rows: Ints) -> _Strict:
    strict = _Strict()
    numbers = rows.tolist()
    for row, decoded in zip(numbers, decode_items([items[row] for row in numbers]), strict=True):
        placed = _placed(decoded, items, row)
        if isinstance(placed, Reject):
            strict.rejects[row] = placed
            continue
        kind = strict.of(placed)
        kind[0].append(placed)
        kind[1].append(row)
    return strict


def _placed(decoded: DecodedEvent | Reject, items: Items, row: int) -> DecodedEvent | Reject:
    owner = int(items.owners[row])
    header = items.records[owner].header
    if isinstance(decoded, Reject) or header is None:
        return decoded
    if decoded.source != header.source:
        detail = f"source: found {decoded.source}; a batch of {header.source} holds its events only"
        return Reject(Reason.WRONG_SOURCE, detail, decoded.id, decoded.source)
    ordinal = row - int(items.firsts[owner])
    expected = ordinal_id(epoch=header.epoch, sequence=header.sequence, ordinal=ordinal)
    if decoded.id != expected:
        detail = f"id: found {decoded.id}; the id of this event is its place {expected}"
        return Reject(Reason.WRONG_PLACE, detail, decoded.id, decoded.source)
    return decoded


def _check(prepared: Prepared, now: int, earliest: int) -> None:
    prepared.decoded = {"usage": prepared.usage, **prepared.readings}
    if prepared.usage.height:
        _explain(prepared, prepared.usage, prepared.usage["suspect"])
    if prepared.energy.height:
        _explain(prepared, prepared.energy, suspect_energy(prepared.energy))
    for frame in prepared.frames:
        if frame.height == 0:
            continue
        late = untimely(frame, now=now, earliest=earliest)
        ids = prepared.ids(row for row, _, _ in late) if late else {}
        sources = dict(frame.select("row", "source").iter_rows()) if late else {}
        for row, reason, detail in late:
            prepared.rejects.setdefault(row, Reject(reason, detail, ids[row], sources[row]))
    _say_what_was_unread(prepared)
    drop_rows(prepared, prepared.rejects)


def _say_what_was_unread(prepared: Prepared) -> None:
    """Put refusals in the words of who made the events of something else, where it left some."""
    for owner, record in enumerate(prepared.records):
        for ordinal, said in record.unread.items():
            row = int(prepared.items.firsts[owner]) + ordinal
            if row in prepared.rejects:
                prepared.rejects[row] = replace(prepared.rejects[row], detail=said)


def drop_rows(prepared: Prepared, rows: Iterable[int]) -> None:
    """Take refused rows out of the frames."""
    gone = np.fromiter(rows, np.int64)
    if gone.size:
        prepared.usage = _without(prepared.usage, gone)
        prepared.energy = _without(prepared.energy, gone)
        prepared.counters = _without(prepared.counters, gone)
        prepared.gaps = _without(prepared.gaps, gone)


def _without(frame: pl.DataFrame, gone: Ints) -> pl.DataFrame:
    return keep_rows(frame, ~np.isin(frame["row"].to_numpy(), gone))


def _explain(prepared: Prepared, frame: pl.DataFrame, suspect: pl.Series) -> None:
    for row in frame["row"].filter(suspect):
        raw = decode_line(prepared.items[row])
        problems = explain(raw)
        if not problems and _says_too_finely(raw):
            detail = (
                "data.provider_cost.amount: more than 12 decimals, or 24 digits before them;"
                " send fewer digits"
            )
            prepared.rejects[row] = reject([], raw, Reason.INVALID_FIELD, detail)
        elif problems:
            prepared.rejects[row] = reject(problems, raw)


def _says_too_finely(raw: dict[str, Any]) -> bool:
    cost = raw["data"].get("provider_cost")
    return bool(cost) and finer_than_amount(cost["amount"])
