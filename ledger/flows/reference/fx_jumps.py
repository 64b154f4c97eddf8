"""Says of exchange rates which are far from those before them, as a rate is that was entered the
wrong way round or in another unit."""

from decimal import Decimal

from ledger.domain.author import Author
from ledger.domain.exchange import CARRIED_DAYS
from ledger.domain.money import multiply
from ledger.flows.reference.enter import enter_fx_rates
from ledger.flows.reference.enter_checks import find_fresh_rates, pairs
from ledger.store.cost.cost_inputs import RateBefore, find_fx_rates_before
from ledger.store.queries import Connection
from ledger.wire.inputs import NewFxRates

# Few currencies move by so much within days, and one turned does unless it is nearly at par.
JUMP = Decimal("0.1")


async def enter_and_compare(
    connection: Connection, new: NewFxRates, author: Author, *, replace: bool = False
) -> tuple[int, list[RateBefore]]:
    """Record rates; returns how many were new, and those of them that jump."""
    async with connection.transaction():
        fresh = await find_fresh_rates(connection, new.rates, replace)
        written = await enter_fx_rates(connection, new, author, replace=replace)
        beside = await find_fx_rates_before(connection, **pairs(fresh), carried_days=CARRIED_DAYS)
    return written, [rate for rate in beside if _is_jump(rate)]


def _is_jump(rate: RateBefore) -> bool:
    """Whether a rate differs from the one before by more than JUMP of that."""
    if rate.turned:
        return abs(multiply(rate.rate, rate.before_rate) - 1) > JUMP
    return abs(rate.rate - rate.before_rate) > multiply(rate.before_rate, JUMP)
