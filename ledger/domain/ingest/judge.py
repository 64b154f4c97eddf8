"""Decides what a call may write: sources and customers of its key, and one form a source.

Invariant: a refused row claims no id and no place.
"""

from collections.abc import Sequence

import polars as pl

from ledger.domain.fact import Reason
from ledger.domain.ingest.decode import Reject
from ledger.domain.ingest.directory import Directory
from ledger.domain.ingest.prepare import Prepared, drop_rows

SEQUENCED, KEYED = "sequenced", "keyed"


def identities(prepared: Prepared) -> pl.DataFrame:
    """Row, id, source, record and form of every row that is still in a frame, in row order."""
    owners = pl.Series("record", prepared.record_of(), pl.Int64)
    forms = pl.Series("form", [form_of(prepared, n) for n in range(len(prepared.records))])
    frames = (prepared.usage, prepared.energy, prepared.counters)
    rows = pl.concat([frame.select("row", "id", "source") for frame in frames]).sort("row")
    placed = rows.with_columns(record=owners.gather(rows["row"]))
    return placed.with_columns(form=forms.cast(pl.String).gather(placed["record"]))


def form_of(prepared: Prepared, record: int) -> str:
    """Sequenced where the record has a place, else keyed."""
    one = prepared.records[record]
    placed = one.replay_of is not None and one.replay_of.target is not None
    return SEQUENCED if placed or one.header is not None else KEYED


def refuse_sources(prepared: Prepared) -> None:
    """Refuse rows of sources that the record's key may not write."""
    if all(record.permission is None for record in prepared.records):
        return
    for row, event_id, source, record, _ in identities(prepared).iter_rows():
        allowed = prepared.records[record].permission
        if allowed is not None and not allowed.writes(source):
            detail = f"source: this key may not write {source}; use a key bound to it"
            prepared.rejects[row] = Reject(Reason.FORBIDDEN_SOURCE, detail, event_id, source)
    drop_rows(prepared, prepared.rejects)


def refuse_customers(prepared: Prepared) -> None:
    """Refuse usage of customers that the record's key may not write; after keys are assigned."""
    bound = [r for r in prepared.records if r.permission is not None and r.permission.customers]
    if not bound:
        return
    owners = prepared.record_of()
    columns = ("row", "id", "source", "customer_id", "customer_ref")
    for row, event_id, source, customer_id, ref in prepared.usage.select(columns).iter_rows():
        allowed = prepared.records[owners[row]].permission
        if allowed is None or not allowed.customers or customer_id in allowed.customers:
            continue
        detail = f"data.customer_id: this key may not write usage of {ref!r}; use another key"
        prepared.rejects[row] = Reject(Reason.FORBIDDEN_CUSTOMER, detail, event_id, source)
    drop_rows(prepared, prepared.rejects)


def new_sources(prepared: Prepared, directory: Directory) -> list[tuple[str, str]]:
    """(source, form) of sources nobody has registered, by name; the first form of the call wins."""
    seen = identities(prepared).select("source", "form").unique("source", keep="first")
    found = [(source, form) for source, form in seen.iter_rows()]
    for n, record in enumerate(prepared.records):
        if record.header is not None and n in prepared.batches and _permitted(prepared, n):
            found.append((record.header.source, SEQUENCED))
    fresh = {source: form for source, form in reversed(found) if source not in directory.sources}
    return sorted(fresh.items())


def refuse_forms(prepared: Prepared, directory: Directory) -> None:
    """Refuse rows of the other form than their source is registered with."""
    known = identities(prepared).select("source", "form").unique().rows()
    wrong = {(s, f) for s, f in known if directory.sources[s].form != f}
    if not wrong:
        return
    for row, event_id, source, _, form in identities(prepared).iter_rows():
        if (source, form) in wrong:
            detail = (
                f"source: {source} is registered as {directory.sources[source].form}, and this is"
                f" {form}; send {form} events under a source of their own"
            )
            prepared.rejects[row] = Reject(Reason.WRONG_FORM, detail, event_id, source)
    drop_rows(prepared, prepared.rejects)


def claiming_records(prepared: Prepared, directory: Directory) -> Sequence[int]:
    """Records whose place counts: complete, permitted, of a sequenced source."""
    return [
        n
        for n in sorted(prepared.batches)
        if _permitted(prepared, n) and directory.sources[_source(prepared, n)].form == SEQUENCED
    ]


def _permitted(prepared: Prepared, record: int) -> bool:
    allowed = prepared.records[record].permission
    return allowed is None or allowed.writes(_source(prepared, record))


def _source(prepared: Prepared, record: int) -> str:
    header = prepared.records[record].header
    assert header is not None
    return header.source
