"""Keeps what a call refused, item by item up to a bound and beyond it as a number."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from ledger.domain.metering.claims import Conflict, Refused
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.offered import offered_lines
from ledger.domain.metering.prepare import Prepared
from ledger.domain.metering.record import Record
from ledger.domain.metering.refusals import KEPT_OF_SOURCE, choose_kept
from ledger.flows.metering.limits import IngestLimits
from ledger.store.copying import copy_rows
from ledger.store.metering.conflicts import OFFER_COLUMNS
from ledger.store.metering.ingest import count_kept, insert_quarantine
from ledger.store.queries import Connection

KEPT_WITHIN = timedelta(days=1)
# Events of a call that are kept of conflicts, and the text of one conflict.
OFFERED_MAX = 20_000
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


async def keep_offers(
    connection: Connection,
    prepared: Prepared,
    conflicts: Sequence[Conflict],
    *,
    batch_seq: int,
    now: datetime,
    limits: IngestLimits,
) -> None:
    """Keep what was offered under identities that were taken, of a call up to a bound."""
    expires_at = now + timedelta(days=limits.quarantine_days)
    kept, left = [], OFFERED_MAX
    for one in conflicts:
        if left <= 0:
            break
        rows = range(one.ordinal, one.ordinal + one.items)
        text = "\n".join(offered_lines(prepared, rows))
        offered = text[:OFFER_CHARS_MAX]
        left -= one.items
        kept.append(
            (batch_seq, one.ordinal, offered, one.items, len(text) > len(offered), expires_at)
        )
    await copy_rows(connection, "conflict_offer", OFFER_COLUMNS, kept)


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
        "permission": None if allowed is None else allowed.to_fields(),
    }
