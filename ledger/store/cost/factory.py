"""Reads everything slow about one entity's factory as it is known at a cut-off."""

from typing import Unpack

from ledger.domain.cost.factory import Factory
from ledger.domain.entity import LegalEntity
from ledger.store.cost import cost
from ledger.store.cost.weight_checks import find_fitted_sets
from ledger.store.queries import Connection
from ledger.store.within import Within


async def load_factory(
    connection: Connection, entity: LegalEntity, **within: Unpack[Within]
) -> Factory:
    """The slow facts valid somewhere in [since, until)."""
    sites = await cost.find_facilities(connection, entity_id=entity.entity_id)
    histories = await cost.find_asset_histories(
        connection,
        entity_id=entity.entity_id,
        until=within["until"],
        batch_seq=within["batch_seq"],
    )
    return Factory(
        entity=entity,
        assets=[
            terms
            for rows in histories.values()
            for terms in rows
            if terms.valid_to is None or terms.valid_to > within["since"]
        ],
        histories=histories,
        deployments=await cost.find_deployments(connection, **within),
        uplifts=await cost.find_pues(connection, facility_ids=sites, **within),
        prices=await cost.find_tariff_prices(connection, facility_ids=sites, **within),
        meters=await cost.find_energy_meters(connection, facility_ids=sites, **within),
        fitted=await find_fitted_sets(connection, entity_id=entity.entity_id, **within),
        homes=await cost.find_gpu_homes(connection, batch_seq=within["batch_seq"]),
    )
