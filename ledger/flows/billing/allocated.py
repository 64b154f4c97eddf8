"""Says whether cost that an invoice asks for is allocated to the end of its period."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.errors import MissingInputError
from ledger.domain.parked import Parked
from ledger.domain.period import Period
from ledger.store.queries import Connection
from ledger.store.stage_runs import find_last_run
from ledger.store.standing import list_parked

# The stage that a price on cost waits for.
ALLOCATE = "allocate"


@dataclass(frozen=True, slots=True)
class Allocated:
    """How far cost of an entity is allocated (None: not at all), and what of it is parked."""

    until: datetime | None = None
    parked: Sequence[Parked] = ()

    def lacks(self, period: Period) -> MissingInputError | None:
        """What is missing of a period's cost, None where nothing is."""
        parked = next((each for each in self.parked if each.what.touches(period)), None)
        if parked is not None:
            return MissingInputError(
                f"Cost of the period, which its prices follow, could not be allocated: {parked}.",
                "Mend that, and run `tokenledger settle`.",
            )
        if self.until is None or self.until < period.end:
            said = f"up to {self.until.isoformat()}" if self.until else "not at all"
            return MissingInputError(
                f"Cost of the period, which its prices follow, is allocated {said}; the period ends"
                f" at {period.end.isoformat()}.",
                "Run `tokenledger settle` first.",
            )
        return None


async def find_allocated(connection: Connection, entity_id: str) -> Allocated:
    """How far cost of an entity is allocated now."""
    last = await find_last_run(connection, stage=ALLOCATE, entity_id=entity_id)
    parked = await list_parked(connection, stage=ALLOCATE, entity_id=entity_id)
    return Allocated(last.followed_to, parked)
