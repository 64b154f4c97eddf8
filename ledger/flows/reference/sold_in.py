"""Checks that money which is to pay for usage, or to bound it, is in a currency of prices."""

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import check_currency
from ledger.store.pricing.prices import list_currencies
from ledger.store.queries import Connection


async def check_sold_in(connection: Connection, entity_id: str, currency: str) -> None:
    """InvalidInputError for a currency that is neither an entity's nor of a card of it: a grant in
    it pays for nothing, and a budget in it refuses all that is asked."""
    check_currency(currency)
    sold = await list_currencies(connection, entity_id)
    if currency not in sold:
        raise InvalidInputError(
            f"Entity {entity_id} has no prices in {currency}.",
            f"Send {' or '.join(sold)}, or enter a rate card in {currency} first.",
            "currency",
        )
