"""Events behind the lines of invoices."""

from collections.abc import Mapping
from datetime import datetime

from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.billing.traced import TracedEvent
from ledger.store.billing.draft import INVOICE
from ledger.store.queries import Connection


async def trace_events(
    connection: Connection,
    *,
    line: InvoiceLine,
    customer_id: str,
    batch_seq: int,
    after: tuple[int, int] = (0, -1),
    limit: int = 1_000,
) -> list[TracedEvent]:
    """Facts behind an invoice line up to a cut-off, in stored order; `after` is where a page ended.

    Of an adjustment: all facts of the windows it is about, of which part was billed before.
    """
    return await INVOICE["trace_events"].values(
        connection,
        TracedEvent,
        **_line_windows(line, customer_id),
        batch_seq=batch_seq,
        after_seq=after[0],
        after_ordinal=after[1],
        limit=limit,
    )


async def trace_windows(
    connection: Connection, *, line: InvoiceLine, customer_id: str, batch_seq: int
) -> list[tuple[int, datetime]]:
    """(usage_key_id, window_start) of the usage behind an invoice line."""
    rows = await INVOICE["trace_windows"].rows(
        connection, **_line_windows(line, customer_id), batch_seq=batch_seq
    )
    return [(row["usage_key_id"], row["window_start"]) for row in rows]


def _line_windows(line: InvoiceLine, customer_id: str) -> Mapping[str, object]:
    key = line.key
    return {
        "customer_id": customer_id,
        "kind": line.kind,
        "model": key.model,
        "tier": key.tier,
        "adapter": key.adapter,
        "region": key.region,
        "context_band": key.context_band,
        "meter": key.meter,
        "price_id": key.price_id,
        "since": key.service_start,
        "until": key.service_end,
    }
