"""Events behind the lines of invoices."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ledger.domain.billing.draft import LinePrice
from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.billing.traced import TracedEvent
from ledger.domain.period import FAR, Period, intersect
from ledger.domain.pricing.price_list import spell_out
from ledger.domain.pricing.price_model import Basis
from ledger.domain.pricing.rate_card import BAND_EDGES, FALLBACK, CardPrice, RateCard, UsageKey
from ledger.store.billing.draft import INVOICE, find_line_prices
from ledger.store.pricing.rating import find_cards, find_kinds, has_named_prices
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class LineRun:
    """A usage key, and a span in which a line's price applied to what it used."""

    usage_key_id: int
    since: datetime
    until: datetime


async def find_runs(
    connection: Connection,
    *,
    line: InvoiceLine,
    customer_id: str,
    batch_seq: int,
    subscription_id: str | None = None,
) -> list[LineRun]:
    """What an invoice line is of, up to a cut-off; no two runs hold the same usage.

    Of an adjustment: all that may ever have been charged at its price, of which part was billed
    before; of a part of a price that looks at a whole period: all that it looked at.
    """
    used = await _find_used(
        connection,
        line=line,
        customer_id=customer_id,
        batch_seq=batch_seq,
        subscription_id=subscription_id,
    )
    rows = await INVOICE["trace_runs"].rows(
        connection,
        **_columns(customer_id, used),
        since=line.key.service_start,
        until=line.key.service_end,
        meters=sorted({use.meter for use in used}),
        batch_seq=batch_seq,
    )
    spans: dict[int, list[Period]] = defaultdict(list)
    for row in rows:
        spans[row["usage_key_id"]].append(Period(row["since"], row["until"]))
    return [LineRun(key, span.start, span.end) for key, of in spans.items() for span in _merged(of)]


async def trace_events(
    connection: Connection,
    *,
    line: InvoiceLine,
    customer_id: str,
    batch_seq: int,
    runs: Sequence[LineRun],
    after: tuple[int, int] = (0, -1),
    limit: int = 1_000,
) -> list[TracedEvent]:
    """Facts in rows behind an invoice line, up to a cut-off, in stored order; `runs` is what
    `find_runs` found, `after` is where a page ended."""
    return await INVOICE["trace_events"].values(
        connection,
        TracedEvent,
        customer_id=customer_id,
        usage_key_ids=[run.usage_key_id for run in runs],
        sinces=[run.since for run in runs],
        untils=[run.until for run in runs],
        since=line.key.service_start,
        until=line.key.service_end,
        batch_seq=batch_seq,
        after_seq=after[0],
        after_ordinal=after[1],
        limit=limit,
    )


async def trace_batches(
    connection: Connection, *, line: InvoiceLine, customer_id: str
) -> list[tuple[int, int]]:
    """(first, last) of the stretches of batches that a line's windows are made of, in order."""
    rows = await INVOICE["trace_batches"].rows(
        connection,
        customer_id=customer_id,
        since=line.key.service_start,
        until=line.key.service_end,
    )
    return [(row["first"], row["last"]) for row in rows]


@dataclass(frozen=True, slots=True)
class _LineUse:
    """What a line's price was charged for, and when."""

    key: UsageKey
    meter: str
    span: Period


async def _find_used(
    connection: Connection,
    *,
    line: InvoiceLine,
    customer_id: str,
    batch_seq: int,
    subscription_id: str | None = None,
) -> list[_LineUse]:
    """What was charged at a line's price, or at another of the same terms, in its service period,
    of one subscription or any: as the cards said at the cut-off, or of an adjustment whenever they
    ever did."""
    service = line.key.service_period
    terms = (await find_line_prices(connection, [line.key.price_id]))[line.key.price_id]
    keys, of_each = _keys(line), terms.price.basis is Basis.EACH
    if not of_each or await has_named_prices(connection, batch_seq=batch_seq):
        whole = [(customer_id, service.start, service.end)]
        kinds = await find_kinds(connection, periods=whole, batch_seq=batch_seq)
        some = {kind.key for kind in kinds if _is_for(terms, kind.key)}
        if of_each:
            some = {*keys, *(key for key in some if _of_anybody(key) in keys)}
        keys = sorted(some)
    if line.kind == "adjustment":
        rows = await INVOICE["find_price_spans"].rows(
            connection, price_id=line.key.price_id, batch_seq=batch_seq
        )
        spans = _merged(_clip(row["since"], row["until"], service) for row in rows)
        meters = {line.key.meter}
        if terms.price.basis is not Basis.EACH:
            meters |= {meter for meter, of in FALLBACK.items() if of == terms.meter}
        return [_LineUse(key, meter, span) for key in keys for meter in meters for span in spans]
    used: dict[tuple[UsageKey, str], list[Period]] = defaultdict(list)
    whose = (customer_id, subscription_id)
    for card, within in await _find_cards(connection, whose, service, batch_seq):
        for listed in (each for key in keys for each in spell_out(card, key, within)):
            if listed.price is not None and _is_alike(listed.price, terms):
                used[listed.key, listed.meter].append(Period(listed.since, listed.until))
    return [
        _LineUse(key, meter, span)
        for (key, meter), spans in used.items()
        if terms.price.basis is not Basis.EACH or meter == line.key.meter
        for span in _merged(spans)
    ]


async def _find_cards(
    connection: Connection, whose: tuple[str, str | None], service: Period, batch_seq: int
) -> list[tuple[RateCard, Period]]:
    """The cards by which a customer's usage was priced in a period, by one subscription or any,
    each with when."""
    customer_id, subscription_id = whose
    rows = await INVOICE["find_line_cards"].rows(
        connection,
        customer_id=customer_id,
        subscription_id=subscription_id,
        since=service.start,
        until=service.end,
        batch_seq=batch_seq,
    )
    names = [row["rate_card_id"] for row in rows]
    cards = await find_cards(connection, rate_card_ids=names, batch_seq=batch_seq)
    clipped = [(row["rate_card_id"], _clip(row["since"], row["until"], service)) for row in rows]
    return [(cards[name], within) for name, within in clipped if within]


def _clip(since: datetime, until: datetime | None, service: Period) -> Period | None:
    return intersect(Period(since, until or FAR), service)


def _merged(spans: Iterable[Period | None]) -> list[Period]:
    """Spans that overlap or touch as one, so that no fact is in two of them."""
    merged: list[Period] = []
    for span in sorted(each for each in spans if each is not None):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Period(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _keys(line: InvoiceLine) -> list[UsageKey]:
    """What a line says that it is of, in each context from its own on; whose it was, how it went,
    and up to which context, its price says."""
    key = line.key
    return [
        UsageKey(key.model, key.tier, key.adapter, key.region, band)
        for band in range(key.context_band, len(BAND_EDGES))
    ]


def _of_anybody(key: UsageKey) -> UsageKey:
    return replace(key, project_id="", agent_id="", outcomes=0)


def _is_for(terms: LinePrice, key: UsageKey) -> bool:
    return terms.project_id in (None, key.project_id) and terms.agent_id in (None, key.agent_id)


def _is_alike(price: CardPrice, terms: LinePrice) -> bool:
    """Whether a price has the same terms, and its line would say the same."""
    hours = price.hours.text if price.hours else None
    scope = (price.band_from or 0, price.project_id, price.agent_id, hours)
    own = (terms.band_from or 0, terms.project_id, terms.agent_id, terms.hours)
    return price.price == terms.price and scope == own


def _columns(customer_id: str, used: Iterable[_LineUse]) -> Mapping[str, object]:
    # A fact has all meters: it is of a key and a span once.
    each = sorted({(use.key, use.span) for use in used})
    return {
        "customer_id": customer_id,
        "models": [key.model for key, _ in each],
        "tiers": [key.tier for key, _ in each],
        "adapters": [key.adapter for key, _ in each],
        "regions": [key.region for key, _ in each],
        "bands": [key.context_band for key, _ in each],
        "projects": [key.project_id for key, _ in each],
        "agents": [key.agent_id for key, _ in each],
        "outcomes": [key.outcomes for key, _ in each],
        "span_sinces": [span.start for _, span in each],
        "span_untils": [span.end for _, span in each],
    }
