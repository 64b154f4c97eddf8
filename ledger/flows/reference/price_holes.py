"""Says of prices of electricity which times are left between them without any."""

from ledger.flows.reference.time_of_use import spelled_out
from ledger.store.cost import cost_inputs
from ledger.store.cost.cost_inputs import PriceHole
from ledger.store.queries import Connection
from ledger.wire.tariff_inputs import NewTariffPrices


async def find_price_holes(connection: Connection, new: NewTariffPrices) -> list[PriceHole]:
    """Times beside or between prices that were entered of which their site has no price."""
    tariff = await cost_inputs.find_tariff(connection, new.tariff_id)
    assert tariff is not None
    facility = await cost_inputs.find_facility(connection, tariff.facility_id)
    assert facility is not None
    prices = spelled_out(new, facility.zone)
    return await cost_inputs.find_price_holes(
        connection,
        facility.facility_id,
        since=min(price.start for price in prices),
        until=max(price.until for price in prices),
    )
