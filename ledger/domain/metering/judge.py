"""Decides what a call may write: sources and customers of its key, and one form a source.

Invariant: a refused row claims no id and no place.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.frames import MANY_ROWS, keep_rows, only
from ledger.domain.metering.decode import Reject
from ledger.domain.metering.digest import content_digests
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.prepare import Prepared, drop_rows
from ledger.domain.metering.record import Record
from ledger.domain.metering.spread import window_of

SEQUENCED, KEYED = "sequenced", "keyed"


def form_of(prepared: Prepared, record: int) -> str:
    """Sequenced where the record has a place, else keyed."""
    own = prepared.records[record]
    placed = own.replay_of is not None and own.replay_of.target is not None
    return SEQUENCED if placed or own.header is not None else KEYED


def keyed_rows(prepared: Prepared) -> pl.DataFrame:
    """Row, id and source of every row with an id of its own that is still in a frame, in order."""
    keyed = np.array([form_of(prepared, n) == KEYED for n in range(len(prepared.records))])
    parts = [only(frame, ("row", "id", "source")) for frame in prepared.frames]
    filled = [part for part in parts if part.height]
    if not keyed.any() or not filled:
        return parts[0].clear()
    rows = filled[0] if len(filled) == 1 else pl.concat(filled).sort("row")
    return keep_rows(rows, keyed[prepared.items.owners[rows["row"].to_numpy()]])


def digest_own(prepared: Prepared) -> None:
    """Take the digests by which rows with ids of their own are told from others."""
    rows = keyed_rows(prepared)
    if rows.height:
        prepared.own = content_digests(prepared.decoded, rows["row"])


def senders(prepared: Prepared, *, decoded: bool = False) -> list[tuple[str, int]]:
    """Each pair of a source and a record that has rows of it, in the order of their first rows.

    `decoded` takes in rows that have been dropped since.
    """
    whole = tuple(prepared.decoded.values())
    frames = whole if decoded else prepared.frames
    if list(map(id, frames)) != list(map(id, whole)):
        return _senders(prepared, frames)
    # As long as nothing was dropped it is asked thrice, and of records of one event it is dear.
    if prepared.senders is None:
        prepared.senders = _senders(prepared, whole)
    return list(prepared.senders)


def _senders(prepared: Prepared, given: Iterable[pl.DataFrame]) -> list[tuple[str, int]]:
    frames = [frame for frame in given if frame.height]
    alive = np.zeros(len(prepared.records), np.bool_)
    for frame in frames:
        alive[prepared.items.owners[frame["row"].to_numpy()]] = True
    headers = {n: record.header for n, record in enumerate(prepared.records) if alive[n]}
    # All rows of a batch have its source: others were refused.
    named = [(int(prepared.items.firsts[n]), h.source, n) for n, h in headers.items() if h]
    if len(named) < len(headers):
        named += _keyed_senders(prepared, frames)
    return [(source, record) for _, source, record in sorted(named)]


def _keyed_senders(
    prepared: Prepared, frames: Sequence[pl.DataFrame]
) -> list[tuple[int, str, int]]:
    keyed = np.array([record.header is None for record in prepared.records], np.bool_)
    firsts: dict[tuple[str, int], int] = {}
    for frame in frames:
        for source, record, row in _begins(prepared, frame, keyed):
            firsts[source, record] = min(row, firsts.get((source, record), row))
    return [(row, source, record) for (source, record), row in firsts.items()]


def _begins(
    prepared: Prepared, frame: pl.DataFrame, keyed: NDArray[np.bool_]
) -> Iterable[tuple[str, int, int]]:
    """Source, record and row of keyed rows, once where they follow one another, or once in all."""
    rows, sources = frame["row"].to_numpy(), frame["source"]
    records = prepared.items.owners[rows]
    if len(rows) < MANY_ROWS:
        sent = zip(sources.to_list(), records.tolist(), rows.tolist(), strict=True)
        return [(source, record, row) for source, record, row in sent if keyed[record]]
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = (records[1:] != records[:-1]) | (sources[1:] != sources[:-1]).to_numpy()
    mine = np.flatnonzero(begins & keyed[records])
    owned = pl.DataFrame(
        {"source": sources.gather(mine), "record": records[mine], "row": rows[mine]}
    )
    return owned.group_by("source", "record").agg(pl.min("row")).iter_rows()


def _owned(prepared: Prepared, frame: pl.DataFrame) -> pl.DataFrame:
    owners = pl.Series("record", prepared.items.owners[frame["row"].to_numpy()])
    return frame.select("row", "source").with_columns(owners)


def _refuse(prepared: Prepared, wrong: Sequence[tuple[str, int, str]], reason: Reason) -> None:
    """Refuse the rows of these sources in these records, each with its detail."""
    rows: dict[int, tuple[str, str]] = {}
    for source, record, detail in wrong:
        for frame in prepared.frames:
            mine = _owned(prepared, frame).filter(source=source, record=record)["row"]
            rows |= dict.fromkeys(mine.to_list(), (source, detail))
    _reject(prepared, rows, reason)


def refuse_sources(prepared: Prepared) -> None:
    """Refuse rows of sources that the record's key may not write."""
    if all(record.permission is None for record in prepared.records):
        return
    wrong = [
        (source, n, f"source: this key may not write {source}; use a key bound to it")
        for source, n in senders(prepared)
        if (allowed := prepared.records[n].permission) is not None and not allowed.writes(source)
    ]
    _refuse(prepared, wrong, Reason.FORBIDDEN_SOURCE)


def refuse_customers(prepared: Prepared, directory: Directory) -> None:
    """Refuse usage of customers that the record's key may not write."""
    bound = [
        n
        for n, record in enumerate(prepared.records)
        if record.permission is not None and record.permission.customers
    ]
    if not bound:
        return
    owners = prepared.items.owners[prepared.usage["row"].to_numpy()]
    mine = prepared.usage.filter(pl.Series(np.isin(owners, bound)))
    wrong: dict[int, tuple[str, str]] = {}
    for row, source, ref, moment in mine.select(
        "row", "source", "customer_ref", window_of()
    ).iter_rows():
        allowed = prepared.records[prepared.items.owners[row]].permission
        if allowed is None or directory.customer_of(ref, moment) in allowed.customers:
            continue
        detail = f"data.customer_id: this key may not write usage of {ref!r}; use another key"
        wrong[row] = (source, detail)
    _reject(prepared, wrong, Reason.FORBIDDEN_CUSTOMER)


def refuse_readings(prepared: Prepared) -> None:
    """Refuse readings of GPUs and engine instances of other entities than the key is bound to."""
    if not any(r.permission is not None and r.permission.foreign for r in prepared.records):
        return
    meters = ((frame, "gpu_uuid") for frame in (prepared.energy, prepared.gaps))
    for frame, column in (*meters, (prepared.counters, "instance")):
        wrong: dict[int, tuple[str, str]] = {}
        for row, source, name in frame.select("row", "source", column).iter_rows():
            allowed = prepared.records[prepared.items.owners[row]].permission
            if allowed is not None and name in allowed.foreign:
                detail = f"data: this key may not write readings of {name!r}; use another key"
                wrong[row] = (source, detail)
        _reject(prepared, wrong, Reason.FORBIDDEN_CUSTOMER)


def _reject(prepared: Prepared, wrong: Mapping[int, tuple[str, str]], reason: Reason) -> None:
    """Refuse rows, each with its source and detail."""
    ids = prepared.ids(wrong) if wrong else {}
    for row, (source, detail) in wrong.items():
        prepared.rejects[row] = Reject(reason, detail, ids[row], source)
    drop_rows(prepared, wrong)


def new_forms(prepared: Prepared, directory: Directory) -> list[tuple[str, str, str]]:
    """(source, owner, form) where nobody knows the form, by name; the first of the call wins.

    A form is its owner's, as ids and places are: no key that is bound decides for others.
    """
    named = senders(prepared)
    for n in sorted(_counting_batches(prepared)):
        if _permitted(prepared, n):
            named.append((_source(prepared, n), n))
    fresh = {
        (source, prepared.owner_of(n)): form_of(prepared, n)
        for source, n in reversed(named)
        if _known_form(directory, source, prepared.owner_of(n)) is None
    }
    return sorted((source, owner, form) for (source, owner), form in fresh.items())


def _known_form(directory: Directory, source: str, owner: str) -> str | None:
    known = directory.sources.get(source)
    return None if known is None else known.form_of(owner)


def refuse_forms(prepared: Prepared, directory: Directory) -> None:
    """Refuse rows of the other form than their source is registered with."""
    wrong = []
    for source, n in senders(prepared):
        form = form_of(prepared, n)
        known = _known_form(directory, source, prepared.owner_of(n))
        if form != known:
            detail = (
                f"source: {source} is registered as {known}, and this is {form};"
                f" send {form} events under a source of their own"
            )
            wrong.append((source, n, detail))
    _refuse(prepared, wrong, Reason.WRONG_FORM)


def records_taking_ids(prepared: Prepared, directory: Directory) -> Sequence[int]:
    """Records whose place counts: complete, permitted, of a sequenced source."""
    return [
        n
        for n in sorted(_counting_batches(prepared))
        if _permitted(prepared, n)
        and _known_form(directory, _source(prepared, n), prepared.owner_of(n)) == SEQUENCED
    ]


def _counting_batches(prepared: Prepared) -> set[int]:
    """Numbered batches that are complete. Where a key is bound, one of which nothing may count
    takes no place: it may be another's."""
    bound = {n for n in prepared.batches if _is_bound(prepared.records[n])}
    return prepared.batches.keys() - (bound - _alive(prepared) if bound else set())


def _is_bound(record: Record) -> bool:
    allowed = record.permission
    return allowed is not None and bool(allowed.owner)


def _alive(prepared: Prepared) -> set[int]:
    """Records of which a row is left."""
    owners = prepared.items.owners
    return {int(n) for f in prepared.frames for n in np.unique(owners[f["row"].to_numpy()])}


def _permitted(prepared: Prepared, record: int) -> bool:
    allowed = prepared.records[record].permission
    return allowed is None or allowed.writes(_source(prepared, record))


def _source(prepared: Prepared, record: int) -> str:
    header = prepared.records[record].header
    assert header is not None
    return header.source
