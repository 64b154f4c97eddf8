"""What hardware costs as its terms change: nothing is written off twice, and nothing is left."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ledger.domain.errors import ConflictError
from ledger.flows.cost.allocate import allocate
from ledger.flows.reference.enter import enter_asset
from ledger.store.queries import Connection
from ledger.wire.factory_inputs import NewAsset
from ledger.wire.inputs import read_input
from tests.flows.slow_facts import AUTHOR
from tests.support.books import Books

FEBRUARY, MIDDLE, APRIL = (datetime(2023, *day, tzinfo=UTC) for day in ((2, 1), (2, 15), (4, 1)))


@dataclass(frozen=True, slots=True)
class Rack:
    """Hardware of a site, entered as by hand."""

    connection: Connection

    async def enter(self, since: datetime, *, replace: bool = False, **said: object) -> None:
        raw = {
            **{"asset_id": "rack", "entity_id": "factory", "facility_id": "site", "name": "Rack"},
            **{"terms": "owned", "gpu_count": 1, "currency": "EUR", "purchase_price": "4800"},
            **{"residual_value": "0", "in_service": FEBRUARY.isoformat(), "life_months": 1},
            "valid_from": since.isoformat(),
            **said,
        }
        await enter_asset(self.connection, read_input(NewAsset, raw), AUTHOR, replace=replace)

    async def cost(self, since: datetime, until: datetime) -> Decimal:
        await allocate(self.connection, now=datetime(2023, 5, 1, tzinfo=UTC))
        found = await self.connection.fetchval(
            """SELECT coalesce(sum(gpu_cost), 0) FROM cost_lines_at(as_it_stands())
                WHERE window_start >= $1 AND window_start < $2""",
            *(since, until),
        )
        return Decimal(found)


@pytest.fixture
async def rack(worker: Connection) -> Rack:
    books = Books(worker)
    await books.entity()
    await books.facility()
    return Rack(worker)


async def test_a_life_made_longer_costs_what_is_left_and_a_price_corrected_bears_on_it(
    rack: Rack,
) -> None:
    await rack.enter(FEBRUARY, method="declining", rate_percent="30")
    await rack.enter(MIDDLE, replace=True, life_months=2)
    assert await rack.cost(FEBRUARY, MIDDLE) == 2_400
    assert await rack.cost(MIDDLE, APRIL) == 2_400
    until = {"valid_to": MIDDLE.isoformat()}
    declining = {"method": "declining", "rate_percent": "30"}
    await rack.enter(FEBRUARY, replace=True, purchase_price="9600", **declining, **until)
    # Half of what it cost is written off, and the rest was said to be 4,800 less.
    assert await rack.cost(FEBRUARY, MIDDLE) == 4_800
    assert await rack.cost(MIDDLE, APRIL) == 0


@pytest.mark.parametrize(
    "said",
    [
        {"in_service": "2023-01-01T00:00:00Z"},
        {"residual_value": "4000"},
        {"purchase_price": "2000"},
    ],
    ids=["no time left", "residual above what is left", "less than what is written off"],
)
async def test_terms_that_contradict_what_was_written_off_are_refused(
    rack: Rack, said: dict[str, str]
) -> None:
    await rack.enter(FEBRUARY)
    with pytest.raises(ConflictError, match=r"From 2023-02-15T00:00Z on, -?\d+ is left then"):
        await rack.enter(MIDDLE, replace=True, **said)
