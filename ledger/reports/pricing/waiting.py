"""What waits for a price, of every entity."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ledger.store.connect import CutOff
from ledger.store.pricing import rating
from ledger.store.queries import Connection


async def list_all_unpriced(
    connection: Connection, *, cut_off: CutOff, entity_id: str | None = None
) -> Sequence[dict[str, Any]]:
    """Usage that waits for a price: entity, customer, model, tier, meter, reason, quantity."""
    unpriced: list[dict[str, Any]] = []
    for entity in await rating.list_entities(connection, entity_id=entity_id):
        rows = await rating.list_unpriced(
            connection, entity_id=entity.entity_id, batch_seq=cut_off.batch_seq
        )
        unpriced += [{"entity_id": entity.entity_id, **asdict(row)} for row in rows]
    return unpriced
