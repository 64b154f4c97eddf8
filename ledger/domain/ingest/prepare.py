"""Turns records into checked frames, refusals and digests: all of ingest that needs no database.

Invariant: each item has one row, counted through all records of the call; a row is in one frame or
refused, never both, never neither.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl

from ledger.domain.fact import Reason
from ledger.domain.ingest.columns import counters_frame, energy_frame, usage_frame
from ledger.domain.ingest.decode import Reject, decode_items, reject
from ledger.domain.ingest.digest import (
    ENERGY_TAGS,
    USAGE_TAGS,
    batch_digest,
    canonical,
    counters_text,
    digest,
)
from ledger.domain.ingest.key import name_columns
from ledger.domain.ingest.lines import split_body
from ledger.domain.ingest.record import Record
from ledger.domain.ingest.structs import CountersEvent, DecodedEvent, EnergyEvent
from ledger.domain.ingest.times import micros
from ledger.domain.ingest.validate import (
    count_columns,
    finer_than_amount,
    resolve_leaves,
    suspect_energy,
    suspect_usage,
    untimely,
)
from ledger.wire.batch import BatchHeader
from ledger.wire.events import explain
from ledger.wire.ndjson import decode_line


@dataclass(slots=True)
class Prepared:
    """The items of a call; `firsts` is each record's first row, `sizes` its number of items.

    `texts` has the canonical text of each decoded row, `batches` the digest of each complete
    sequenced record; `ids` and `sources` are those of decoded rows.
    """

    records: Sequence[Record]
    items: list[bytes]
    firsts: list[int]
    sizes: list[int]
    usage: pl.DataFrame
    energy: pl.DataFrame
    counters: pl.DataFrame
    rejects: dict[int, Reject]
    texts: dict[int, str] = field(default_factory=dict)
    batches: dict[int, UUID] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)

    def record_of(self) -> list[int]:
        """The record of each row."""
        return [n for n, size in enumerate(self.sizes) for _ in range(max(size, 1))]

    def fork(self) -> "Prepared":
        """A copy whose frames and refusals may change."""
        return replace(self, rejects=dict(self.rejects))

    def digest(self, row: int) -> UUID:
        """The content digest of a decoded row."""
        return digest(self.texts[row])


def prepare(records: Sequence[Record], *, now: datetime, body_bytes_max: int) -> Prepared:
    """Decode and check every item of the records; `now` decides what lies in the future."""
    items: list[bytes] = []
    firsts, sizes = [], []
    decoded: list[DecodedEvent | Reject | None] = []
    for record in records:
        own, events = _read(record, body_bytes_max)
        firsts.append(len(items))
        sizes.append(len(own))
        items += own or [b""]
        decoded += events or [None]
    prepared = _framed(records, items, firsts, sizes, decoded)
    _check(prepared, micros(now))
    return prepared


def _read(record: Record, limit: int) -> tuple[list[bytes], list[DecodedEvent | Reject]]:
    if record.refusal:
        return [record.body], [Reject(Reason.BAD_HEADER, record.refusal)]
    if len(record.body) > limit:
        detail = f"body: found {len(record.body)} bytes; send at most {limit}"
        return [record.body], [Reject(Reason.BODY_TOO_LARGE, detail, None, _source(record))]
    items = split_body(record.body)
    header = record.header
    if header is None:
        return items, decode_items(items)
    if header.count != len(items):
        detail = f"tl-count: found {header.count} beside {len(items)} events; send the whole batch"
        return [record.body], [Reject(Reason.COUNT_MISMATCH, detail, None, header.source)]
    return items, [_placed(one, header, n) for n, one in enumerate(decode_items(items))]


def _source(record: Record) -> str:
    return record.header.source if record.header else ""


def _placed(one: DecodedEvent | Reject, header: BatchHeader, ordinal: int) -> DecodedEvent | Reject:
    if isinstance(one, Reject):
        return one
    if one.source != header.source:
        detail = f"source: found {one.source}; a batch of {header.source} holds its events only"
        return Reject(Reason.WRONG_SOURCE, detail, one.id, one.source)
    place = f"{header.epoch}.{header.sequence}.{ordinal}"
    if one.id != place:
        detail = f"id: found {one.id}; the id of this event is its place {place}"
        return Reject(Reason.WRONG_PLACE, detail, one.id, one.source)
    return one


def _framed(
    records: Sequence[Record],
    items: list[bytes],
    firsts: list[int],
    sizes: list[int],
    decoded: Sequence[DecodedEvent | Reject | None],
) -> Prepared:
    usage: tuple[list[int], list[Any]] = ([], [])
    energy: tuple[list[int], list[Any]] = ([], [])
    counters: tuple[list[int], list[Any]] = ([], [])
    rejects: dict[int, Reject] = {}
    for row, one in enumerate(decoded):
        if isinstance(one, Reject):
            rejects[row] = one
        elif one is not None:
            kind = (
                energy
                if isinstance(one, EnergyEvent)
                else counters
                if isinstance(one, CountersEvent)
                else usage
            )
            kind[0].append(row)
            kind[1].append(one)
    return Prepared(
        records=records,
        items=items,
        firsts=firsts,
        sizes=sizes,
        usage=name_columns(resolve_leaves(usage_frame(usage[1], usage[0]))),
        energy=energy_frame(energy[1], energy[0]),
        counters=counters_frame(counters[1], counters[0]),
        rejects=rejects,
    )


def _check(prepared: Prepared, now: int) -> None:
    _digest(prepared)
    _explain(prepared, prepared.usage.filter(suspect_usage(prepared.usage)))
    _explain(prepared, prepared.energy.filter(suspect_energy(prepared.energy)))
    for frame in (prepared.usage, prepared.energy, prepared.counters):
        names = dict(zip(frame["row"], zip(frame["id"], frame["source"], strict=True), strict=True))
        for row, reason, detail in untimely(frame, now=now):
            prepared.rejects.setdefault(row, Reject(reason, detail, *names[row]))
    drop_rows(prepared, prepared.rejects)
    prepared.usage = count_columns(prepared.usage)


def drop_rows(prepared: Prepared, rows: Iterable[int]) -> None:
    """Take refused rows out of the frames."""
    gone = pl.Series(list(rows), dtype=pl.Int64)
    if gone.len():
        prepared.usage = prepared.usage.filter(~pl.col("row").is_in(gone.implode()))
        prepared.energy = prepared.energy.filter(~pl.col("row").is_in(gone.implode()))
        prepared.counters = prepared.counters.filter(~pl.col("row").is_in(gone.implode()))


def _digest(prepared: Prepared) -> None:
    usage = canonical(prepared.usage, USAGE_TAGS, "usage")
    energy = canonical(prepared.energy, ENERGY_TAGS, "energy")
    counters = [counters_text(one) for one in prepared.counters.iter_rows(named=True)]
    for frame, texts in (
        (prepared.usage, usage),
        (prepared.energy, energy),
        (prepared.counters, counters),
    ):
        prepared.texts.update(zip(frame["row"], texts, strict=True))
        prepared.ids.update(zip(frame["row"], frame["id"], strict=True))
        prepared.sources.update(zip(frame["row"], frame["source"], strict=True))
    for n, record in enumerate(prepared.records):
        first, size = prepared.firsts[n], prepared.sizes[n]
        if record.header is not None and size == record.header.count:
            rows = range(first, first + size)
            prepared.batches[n] = batch_digest(
                [prepared.texts.get(row) or prepared.items[row] for row in rows]
            )


def _explain(prepared: Prepared, suspects: pl.DataFrame) -> None:
    for row in suspects["row"]:
        raw = decode_line(prepared.items[row])
        problems = explain(raw)
        if not problems and _claims_too_finely(raw):
            detail = "data.provider_cost.amount: more than 12 decimals; send fewer digits"
            prepared.rejects[row] = reject([], raw, Reason.INVALID_FIELD, detail)
        elif problems:
            prepared.rejects[row] = reject(problems, raw)


def _claims_too_finely(raw: dict[str, Any]) -> bool:
    claim = raw["data"].get("provider_cost")
    return bool(claim) and finer_than_amount(claim["amount"])
