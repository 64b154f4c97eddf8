"""Brings what is priced in one currency into that which an invoice asks for, as it is issued."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from ledger.domain.billing.agreement import Agreement
from ledger.domain.billing.invoice import InvoiceLine, converted
from ledger.domain.errors import LedgerError
from ledger.domain.exchange import CARRIED_DAYS, Conversion, no_rate
from ledger.domain.period import zone
from ledger.store.cost.margin import find_fx_rates
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of the day on which invoices are issued, by the two currencies."""

    day: date
    by_pair: Mapping[tuple[str, str], Conversion]


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Lines as an agreement asks for them, and by which rate they became so; or, where none is
    published, as they are priced, and why."""

    agreement: Agreement
    lines: tuple[InvoiceLine, ...]
    conversion: Conversion | None = None
    error: LedgerError | None = None


async def find_rates(
    connection: Connection, agreements: Sequence[Agreement], now: datetime, *, batch_seq: int
) -> Rates:
    """The last rates published by the day of issue, in the zone of who issues."""
    pairs: dict[str, set[str]] = defaultdict(set)
    for terms in (each.terms for each in agreements):
        if terms.priced_in != terms.currency:
            pairs[terms.currency].add(terms.priced_in)
    day = now.astimezone(zone(agreements[0].entity_zone)).date() if agreements else now.date()
    by_pair = {}
    for quote, bases in pairs.items():
        for rate in await find_fx_rates(
            connection,
            asked=[(base, day) for base in sorted(bases)],
            quote=quote,
            carried_days=CARRIED_DAYS,
            batch_seq=batch_seq,
        ):
            by_pair[rate.base, quote] = Conversion(
                rate.base, quote, rate.published, rate.multiplier, rate.divisor, rate.source
            )
    return Rates(day, by_pair)


def exchange(agreement: Agreement, lines: tuple[InvoiceLine, ...], rates: Rates) -> Exchanged:
    """What is priced in another currency, by the rate of the day of issue."""
    terms = agreement.terms
    if terms.priced_in == terms.currency:
        return Exchanged(agreement, lines)
    conversion = rates.by_pair.get((terms.priced_in, terms.currency))
    if conversion is None:
        who = f"{agreement.customer_id} is invoiced in {terms.currency}"
        error = no_rate(
            f"{who}, by prices in {terms.priced_in}", terms.priced_in, terms.currency, rates.day
        )
        priced = replace(agreement, terms=replace(terms, currency=terms.priced_in))
        return Exchanged(priced, lines, error=error)
    own = tuple(converted(lines, conversion, terms.currency, terms.rounding))
    return Exchanged(agreement, own, conversion)
