"""Events behind the lines of invoices."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.billing.subscription import FAR
from ledger.domain.billing.traced import TracedEvent
from ledger.domain.period import Period, intersect
from ledger.domain.pricing.price_list import spell_out
from ledger.domain.pricing.rate_card import UsageKey
from ledger.store.billing.draft import INVOICE, find_line_prices
from ledger.store.pricing.rating import find_cards
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

    Of an adjustment: all facts that may ever have been charged at its price, of which part was
    billed before.
    """
    spans = await find_spans(connection, line=line, customer_id=customer_id, batch_seq=batch_seq)
    return await INVOICE["trace_events"].values(
        connection,
        TracedEvent,
        **_line_usage(line, customer_id, spans),
        since=line.key.service_start,
        until=line.key.service_end,
        meter=line.key.meter,
        batch_seq=batch_seq,
        after_seq=after[0],
        after_ordinal=after[1],
        limit=limit,
    )


async def trace_windows(
    connection: Connection, *, line: InvoiceLine, customer_id: str, batch_seq: int
) -> list[tuple[int, datetime]]:
    """(usage_key_id, window_start) of the usage behind an invoice line."""
    spans = await find_spans(connection, line=line, customer_id=customer_id, batch_seq=batch_seq)
    rows = await INVOICE["trace_windows"].rows(
        connection, **_line_usage(line, customer_id, spans), batch_seq=batch_seq
    )
    return [(row["usage_key_id"], row["window_start"]) for row in rows]


async def find_spans(
    connection: Connection, *, line: InvoiceLine, customer_id: str, batch_seq: int
) -> list[Period]:
    """When, in its service period, a line's usage was charged at its price, or at another of the
    same terms: as the cards said at the cut-off, or of an adjustment whenever they ever did."""
    service = line.key.service_period
    if line.kind == "adjustment":
        rows = await INVOICE["find_price_spans"].rows(
            connection, price_id=line.key.price_id, batch_seq=batch_seq
        )
        return _merged(_clip(row["since"], row["until"], service) for row in rows)
    rows = await INVOICE["find_line_cards"].rows(
        connection,
        customer_id=customer_id,
        since=service.start,
        until=service.end,
        batch_seq=batch_seq,
    )
    names = [row["rate_card_id"] for row in rows]
    cards = await find_cards(connection, rate_card_ids=names, batch_seq=batch_seq)
    terms = (await find_line_prices(connection, [line.key.price_id]))[line.key.price_id]
    return _merged(
        Period(one.since, one.until)
        for row in rows
        if (within := _clip(row["since"], row["until"], service))
        for one in spell_out(cards[row["rate_card_id"]], _key(line), within)
        if one.meter == line.key.meter and one.price is not None and one.price.price == terms
    )


def _clip(since: datetime, until: datetime | None, service: Period) -> Period | None:
    return intersect(Period(since, until or FAR), service)


def _merged(spans: Iterable[Period | None]) -> list[Period]:
    """Spans that overlap or touch as one, so that no fact is in two of them."""
    merged: list[Period] = []
    for span in sorted(one for one in spans if one is not None):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Period(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _key(line: InvoiceLine) -> UsageKey:
    key = line.key
    return UsageKey(key.model, key.tier, key.adapter, key.region, key.context_band)


def _line_usage(
    line: InvoiceLine, customer_id: str, spans: Iterable[Period]
) -> Mapping[str, object]:
    key, each = line.key, list(spans)
    return {
        "customer_id": customer_id,
        "model": key.model,
        "tier": key.tier,
        "adapter": key.adapter,
        "region": key.region,
        "context_band": key.context_band,
        "span_sinces": [span.start for span in each],
        "span_untils": [span.end for span in each],
    }
