"""Brings revenue into the currency of cost, each day's by the rate last published for it."""

from collections.abc import Sequence
from datetime import date

from ledger.domain.cost.cost_sum import ChargeSum
from ledger.domain.entity import LegalEntity
from ledger.domain.exchange import CARRIED_DAYS, Conversion, no_rate
from ledger.store.cost import margin
from ledger.store.pricing.charged import Charged
from ledger.store.queries import Connection
from ledger.store.within import Within


async def convert(
    connection: Connection,
    charges: Sequence[ChargeSum],
    currency: str,
    entity: LegalEntity,
    charged: Charged,
    within: Within,
) -> tuple[list[ChargeSum], tuple[Conversion, ...]]:
    """The charges `within` a period with every amount in `currency`, and the rates used.

    The day of usage, in the entity's zone, decides the rate. MissingInputError names the first
    pair and day without one.
    """
    own = [charge for charge in charges if charge.currency in (None, currency)]
    if len(own) == len(charges):
        return own, ()
    foreign = await margin.sum_foreign_charges(
        connection,
        home=currency,
        zone=entity.zone,
        charged=charged,
        entity_id=entity.entity_id,
        **within,
    )
    pairs = sorted({(each.currency, each.used_on) for each in foreign})
    published = await margin.find_fx_rates(
        connection,
        asked=pairs,
        quote=currency,
        carried_days=CARRIED_DAYS,
        batch_seq=within["batch_seq"],
    )
    rates = {
        (rate.base, rate.used_on): Conversion(
            rate.base, currency, rate.published, rate.multiplier, rate.divisor, rate.source
        )
        for rate in published
    }
    _refuse_missing([pair for pair in pairs if pair not in rates], currency)
    converted = [
        each.charge._replace(amount=rates[each.currency, each.used_on].of(each.amount))
        for each in foreign
    ]
    used = sorted(set(rates.values()), key=lambda rate: (rate.base, rate.published))
    return own + converted, tuple(used)


def _refuse_missing(missing: Sequence[tuple[str, date]], currency: str) -> None:
    if not missing:
        return
    base, day = missing[0]
    more = f", and of {len(missing) - 1} days more" if len(missing) > 1 else ""
    raise no_rate(f"Revenue is in {base} and cost in {currency}", base, currency, day, more)
