"""A small factory entered by hand, for tests of what people enter."""

from datetime import UTC, datetime, timedelta

from ledger.domain.author import Author
from ledger.flows.reference.enter import enter_asset, enter_facility, enter_rate_card, enter_tariff
from ledger.flows.reference.parties import enter_customer, enter_entity
from ledger.store.queries import Connection
from ledger.wire.factory_inputs import NewAsset, NewFacility
from ledger.wire.inputs import read_input
from ledger.wire.party_inputs import NewCustomer, NewEntity
from ledger.wire.price_inputs import NewRateCard
from ledger.wire.tariff_inputs import NewTariff

AUTHOR = Author("cli:test", "for a test", "req-1")
START = datetime(2024, 1, 1, tzinfo=UTC)


def day(number: int) -> str:
    """Midnight UTC of the day so many days after START."""
    return (START + timedelta(days=number)).isoformat()


ENTITY = {"entity_id": "factory", "name": "Factory", "currency": "EUR", "zone": "Europe/Berlin"}
CUSTOMER = {"customer_id": "acme", "entity_id": "factory", "name": "Acme"}
CARD = {"rate_card_id": "list", "entity_id": "factory", "name": "List", "currency": "EUR"}
FACILITY = {"facility_id": "site", "entity_id": "factory", "name": "Site", "zone": "UTC"}
TARIFF = {"tariff_id": "spot", "facility_id": "site", "name": "Spot", "currency": "EUR"}
ASSET = {
    "asset_id": "rack",
    "entity_id": "factory",
    "facility_id": "site",
    "name": "Rack",
    "terms": "lease",
    "gpu_count": 8,
    "currency": "EUR",
    "gpu_hour_rate": "2",
    "all_in": True,
    "valid_from": day(0),
}


async def enter_parties(connection: Connection) -> None:
    """Entity, customer and an empty card."""
    await enter_entity(connection, read_input(NewEntity, ENTITY), AUTHOR)
    await enter_customer(connection, read_input(NewCustomer, CUSTOMER), AUTHOR)
    await enter_rate_card(connection, read_input(NewRateCard, CARD), AUTHOR)


async def enter_site(connection: Connection) -> None:
    """The parties, and a site with a rack of eight leased GPUs and a tariff without prices."""
    await enter_parties(connection)
    await enter_facility(connection, read_input(NewFacility, FACILITY), AUTHOR)
    await enter_asset(connection, read_input(NewAsset, ASSET), AUTHOR)
    await enter_tariff(connection, read_input(NewTariff, TARIFF), AUTHOR)
