"""Keeps what a call refused, item by item up to a bound and beyond it as a number."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from ledger.domain.metering.fact import Reason
from ledger.domain.metering.identities import Conflict, Refused
from ledger.domain.metering.offered import offered_lines
from ledger.domain.metering.permission import Fields
from ledger.domain.metering.prepare import Prepared
from ledger.domain.metering.record import Record
from ledger.domain.metering.refusals import KEPT_OF_SOURCE, choose_kept
from ledger.flows.metering.limits import IngestLimits
from ledger.store.copying import copy_rows
from ledger.store.metering.conflicts import OFFER_COLUMNS, count_offered
from ledger.store.metering.ingest import count_kept, insert_quarantine
from ledger.store.queries import Connection

KEPT_WITHIN = timedelta(days=1)
# The text of what one conflict offered.
OFFER_CHARS_MAX = 1024 * 1024


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
        Refused(
            row,
            rejects[row],
            prepared.items[row],
            binding=_binding_of(prepared, row),
            sent_as=_sent_as(prepared, row),
        )
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


async def keep_offers(
    connection: Connection,
    prepared: Prepared,
    conflicts: Sequence[Conflict],
    *,
    batch_seq: int,
    now: datetime,
    limits: IngestLimits,
) -> None:
    """Keep what was offered under identities that were taken, of a source and day up to a bound.

    Every conflict is listed with its number of events; of the rest it is said that it is not kept.
    """
    expires_at = now + timedelta(days=limits.quarantine_days)
    most = limits.offered_of_source
    kept_before = await count_offered(
        connection,
        {conflict.source_id for conflict in conflicts},
        since=expires_at - KEPT_WITHIN,
        most=most,
    )
    chosen, offered = [], Counter(kept_before)
    for conflict in conflicts:
        if offered[conflict.source_id] < most:
            offered[conflict.source_id] += conflict.items
            chosen.append(conflict)
    rows = [
        row
        for conflict in chosen
        for row in range(conflict.ordinal, conflict.ordinal + conflict.items)
    ]
    lines = iter(offered_lines(prepared, rows))
    texts = ["\n".join(islice(lines, conflict.items)) for conflict in chosen]
    kept = [
        (
            *(
                batch_seq,
                conflict.ordinal,
                conflict.source_id,
                text[:OFFER_CHARS_MAX],
                conflict.items,
            ),
            *(len(text) > OFFER_CHARS_MAX, _binding_of(prepared, conflict.ordinal), expires_at),
        )
        for conflict, text in zip(chosen, texts, strict=True)
    ]
    await copy_rows(connection, "conflict_offer", OFFER_COLUMNS, kept)


def _binding_of(prepared: Prepared, row: int) -> Fields | None:
    """What the key that a row came with is bound to."""
    allowed = prepared.records[int(prepared.items.owners[row])].permission
    return None if allowed is None else allowed.binding.to_fields()


def _sent_as(prepared: Prepared, row: int) -> Mapping[str, object] | None:
    """What a dead letter is tried again with."""
    if prepared.rejects[row].reason is not Reason.UNSTORABLE:
        return None
    return described(prepared.records[int(prepared.items.owners[row])])


def described(record: Record) -> Mapping[str, object]:
    """A record but for its body and whose it is, as JSON."""
    return {
        "header": None if record.header is None else record.header.to_fields(),
        "encoding": record.encoding,
        "lane": record.lane,
    }
