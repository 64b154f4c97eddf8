"""Puts portions of a batch, decoded one after the other, together as if they were one.

A batch costs the database less the larger it is, and bodies are what would make it too large: each
portion lets its bodies go once it is decoded, but for what may still be refused.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ledger.domain.fact import Kind
from ledger.domain.ingest.columns import NAMES
from ledger.domain.ingest.directory import Directory
from ledger.domain.ingest.items import join_items, moved, starts_of
from ledger.domain.ingest.judge import form_of, senders
from ledger.domain.ingest.prepare import Prepared

_COUNTED = ("row", NAMES)


def let_bodies_go(prepared: Prepared, directory: Directory | None) -> None:
    """Keep the bytes of refused rows, and of those that may be refused by what a directory says.

    What decides later is who may write, the form of a source, and whether a correction names one.
    """
    doubtful = {
        record
        for source, record in senders(prepared)
        if not _is_settled(prepared, source, record, directory)
    }
    owners = prepared.items.owners
    rows = set(np.flatnonzero(np.isin(owners, list(doubtful))).tolist()) if doubtful else set()
    usage = prepared.usage
    rows.update(usage.filter(usage["kind"] == Kind.REPLACEMENT)["row"])
    prepared.items.let_go(sorted(rows | prepared.rejects.keys()))


def _is_settled(prepared: Prepared, source: str, record: int, directory: Directory | None) -> bool:
    known = None if directory is None else directory.sources.get(source)
    return (
        prepared.records[record].permission is None
        and known is not None
        and known.form == form_of(prepared, record)
    )


def join(portions: Sequence[Prepared]) -> Prepared:
    """One call of several portions, whose bodies were let go."""
    if len(portions) == 1:
        return portions[0]
    rows = starts_of([len(one.items) for one in portions])
    records = starts_of([len(one.records) for one in portions])
    usage = _joined([one.usage for one in portions], rows)
    energy = _joined([one.energy for one in portions], rows)
    counters = _joined([one.counters for one in portions], rows)
    now = {"usage": usage, "energy": energy, "counters": counters}
    whole = all(not one.rejects for one in portions)
    decoded = (
        now
        if whole
        else {kind: _joined([one.decoded[kind] for one in portions], rows) for kind in now}
    )
    return Prepared(
        items=join_items([one.items for one in portions]),
        usage=usage,
        energy=energy,
        counters=counters,
        rejects=moved([one.rejects for one in portions], rows),
        decoded=decoded,
        batches=moved([one.batches for one in portions], records),
    )


def _joined(portions: Sequence[pl.DataFrame], rows: Sequence[int]) -> pl.DataFrame:
    """Frames one after the other, their rows counted on."""
    filled = [
        frame.with_columns(pl.col(name) + first for name in _COUNTED if name in frame.columns)
        for frame, first in zip(portions, rows, strict=True)
        if frame.height
    ]
    if len(filled) < 2:
        return filled[0] if filled else portions[0]
    schema = filled[0].schema
    empty = [n for n in schema if all(frame[n].null_count() == frame.height for frame in filled)]
    objects = [name for name, dtype in schema.items() if dtype == pl.Object]
    found = pl.concat([frame.drop(*empty, *objects) for frame in filled])
    values = [
        pl.Series(name, [value for frame in filled for value in frame[name]], pl.Object)
        for name in objects
    ]
    # A column that nobody has filled takes no memory as long as it is one value.
    nothing = [pl.lit(None, schema[name]).alias(name) for name in empty]
    return found.with_columns(*values, *nothing).select(filled[0].columns)
