"""Prices by time of use spelled out: a period for each stretch of one price, in a site's zone."""

from collections.abc import Sequence

from ledger.domain.energy.time_of_use import TimeOfUse
from ledger.wire.tariff_inputs import NewTariffPrices, TariffPeriod


def spelled_out(new: NewTariffPrices, zone_name: str) -> Sequence[TariffPeriod]:
    """The prices as they were sent, or of each stretch of the schedule."""
    said = new.time_of_use
    if said is None:
        return new.prices
    schedule = TimeOfUse(said.weekday, said.weekend)
    return [
        TariffPeriod(start=period.start, end=period.end, price_per_kwh=said.prices_per_kwh[number])
        for period, number in schedule.stretches(said.since, said.until, zone_name)
    ]
