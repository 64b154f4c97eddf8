"""Turns the fates of a call's rows into outcomes, a record each, and receipts, one a source of it.

Invariant: the fates of a record add up to what it brought, and so do those of its receipts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import Fate
from ledger.domain.metering.judge import senders
from ledger.domain.metering.prepare import Prepared
from ledger.domain.metering.record import OUTCOMES, ItemOutcome, RecordOutcome, count_fates

RECEIPT_COLUMNS = (
    *("batch_seq", "ordinal_from", "source_id", "lane", "transport", "position", "actor"),
    *("received_at", "received", *(str(fate) for fate in Fate)),
)

_FATES = {outcome: fate for fate, outcome in OUTCOMES.items()}


def outcomes(
    prepared: Prepared, fates: Mapping[int, Fate], *, batch_seq: int
) -> list[RecordOutcome]:
    """What became of each record; rows without a fate were counted."""
    by_record: list[dict[int, Fate]] = [{} for _ in prepared.records]
    owners = prepared.items.owners
    for row, fate in fates.items():
        by_record[owners[row]][row] = fate
    ids = prepared.ids(fates) if fates else {}
    spans = zip(
        prepared.items.firsts.tolist(), prepared.items.sizes.tolist(), by_record, strict=True
    )
    return [
        RecordOutcome(
            received=size,
            batch_seq=batch_seq,
            ordinal_from=first,
            tally=count_fates(size, own),
            exceptions={
                row - first: _item(prepared, row - first, row, fate, ids.get(row))
                for row, fate in own.items()
            },
            unknown=prepared.unknown.get(record, {}),
        )
        for record, (first, size, own) in enumerate(spans)
    ]


def receipt_rows(
    prepared: Prepared, told: list[RecordOutcome], directory: Directory, *, now: datetime
) -> list[tuple[Any, ...]]:
    """Rows of receipt, in the order of RECEIPT_COLUMNS."""
    sources = _record_sources(prepared)
    return [
        (
            outcome.batch_seq,
            ordinal_from,
            source.source_id if (source := directory.sources.get(name)) else None,
            *(record.lane, record.transport, record.position, record.actor, now),
            received,
            *tally,
        )
        for record, outcome, names in zip(prepared.records, told, sources, strict=True)
        # An item that is replayed was received, and counted as received, before.
        if record.replay_of is None or record.replay_of.whole
        for name, ordinal_from, received, tally in _by_source(prepared, outcome, names)
    ]


def _record_sources(prepared: Prepared) -> list[set[str]]:
    """The sources of each record: its header's, or those that its events name."""
    seen: list[set[str]] = [set() for _ in prepared.records]
    for source, record in senders(prepared, decoded=True):
        seen[record].add(source)
    return [
        {record.header.source} if record.header else names
        for record, names in zip(prepared.records, seen, strict=True)
    ]


def _by_source(
    prepared: Prepared, outcome: RecordOutcome, names: set[str]
) -> Iterator[tuple[str, int, int, Iterable[int]]]:
    """(source, first ordinal, items, tally) of each source of a record; "" is what named none."""
    first = outcome.ordinal_from
    if len(names) < 2:
        yield next(iter(names), ""), first, outcome.received, outcome.tally
        return
    named: dict[int, str] = {}
    for frame in prepared.decoded.values():
        rows, sources = frame["row"].to_list(), frame["source"].to_list()
        named |= dict(zip(rows, sources, strict=True))
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row in range(first, first + outcome.received):
        refused = prepared.rejects.get(row)
        rows_of[refused.source if refused else named.get(row, "")].append(row)
    for name, rows in rows_of.items():
        fates = {
            row: _FATES[exception.outcome]
            for row in rows
            if (exception := outcome.exceptions.get(row - first)) is not None
        }
        yield name, rows[0], len(rows), count_fates(len(rows), fates)


def _item(
    prepared: Prepared, ordinal: int, row: int, fate: Fate, event_id: str | None
) -> ItemOutcome:
    refused = prepared.rejects.get(row)
    if refused is None:
        return ItemOutcome(ordinal, OUTCOMES[fate], event_id)
    return ItemOutcome(
        ordinal, OUTCOMES[fate], event_id or refused.event_id, refused.reason, refused.detail
    )
