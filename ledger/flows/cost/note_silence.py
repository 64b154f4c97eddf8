"""Keeps that nothing was received until now, so that what weights estimate of a house that fell
silent need not wait for it to speak."""

from datetime import datetime

from ledger.domain.cost.unread import LATE
from ledger.store.connect import AS_IT_STANDS
from ledger.store.cost import cost
from ledger.store.cost.weight_checks import find_fitted_sets
from ledger.store.queries import Connection


async def note_silence(connection: Connection, now: datetime) -> None:
    """Keep a receipt of nothing, in the stored order, once nothing was received for as long as
    what is on its way may take; only where weights in force estimate anything of that time."""
    heard = await cost.find_received_at(connection, batch_seq=AS_IT_STANDS)
    if heard is None or now < heard + LATE:
        return
    if await _estimates_any(connection, heard - LATE, now):
        await cost.add_silence(connection, until=now)


async def _estimates_any(connection: Connection, since: datetime, until: datetime) -> bool:
    for entity in await cost.list_cost_entities(connection, entity_id=None):
        fitted = await find_fitted_sets(
            connection,
            entity_id=entity.entity_id,
            since=since,
            until=until,
            batch_seq=AS_IT_STANDS,
        )
        if any(each.estimates for each in fitted):
            return True
    return False
