"""Keeps what a call refused, item by item up to a bound and beyond it as a number."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from ledger.domain.fact import Reason
from ledger.domain.ingest.claims import Refused
from ledger.domain.ingest.prepare import Prepared
from ledger.domain.ingest.record import Record
from ledger.domain.ingest.refusals import KEPT_OF_SOURCE, choose_kept
from ledger.flows.limits import IngestLimits
from ledger.store.ingest import count_kept, insert_quarantine
from ledger.store.queries import Connection

KEPT_WITHIN = timedelta(days=1)


async def keep_refused(
    connection: Connection,
    prepared: Prepared,
    *,
    leaving_out: Collection[int],
    undone: Sequence[Refused],
    batch_seq: int,
    now: datetime,
    limits: IngestLimits,
) -> None:
    """Quarantine the refused rows of a call that are not in `leaving_out`, and what it undid."""
    rejects = {row: why for row, why in prepared.rejects.items() if row not in leaving_out}
    if not rejects and not undone:
        return
    before = await count_kept(
        connection,
        {why.source for why in rejects.values()},
        since=now - KEPT_WITHIN,
        most=KEPT_OF_SOURCE,
    )
    kept = choose_kept(rejects, prepared.items.owners, before)
    refused = [
        Refused(row, rejects[row], prepared.items[row], sent_as=_sent_as(prepared, row))
        for row in kept.rows
    ]
    refused += [Refused(row, why, b"", items) for row, (why, items) in kept.more.items()]
    refused += undone
    await insert_quarantine(
        connection,
        refused,
        batch_seq=batch_seq,
        received_at=now,
        expires_at=now + timedelta(days=limits.quarantine_days),
    )


def _sent_as(prepared: Prepared, row: int) -> Mapping[str, object] | None:
    """What a dead letter is tried again with."""
    if prepared.rejects[row].reason is not Reason.UNSTORABLE:
        return None
    return described(prepared.records[int(prepared.items.owners[row])])


def described(record: Record) -> Mapping[str, object]:
    """A record but for its body, as JSON."""
    allowed = record.permission
    return {
        "header": None if record.header is None else record.header.to_fields(),
        "encoding": record.encoding,
        "lane": record.lane,
        "sources": None if allowed is None else sorted(allowed.sources),
        "customers": None if allowed is None else sorted(allowed.customers),
    }
