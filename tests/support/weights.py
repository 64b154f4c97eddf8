"""Weight sets and policies of idle as somebody enters them."""

from datetime import datetime
from typing import Any

from ledger.domain.author import Author
from ledger.flows.reference.enter_idle import enter_idle_policy
from ledger.flows.reference.enter_weights import enter_weight_set
from ledger.store.queries import Connection
from ledger.wire.idle_inputs import NewIdlePolicy
from ledger.wire.inputs import read_input
from ledger.wire.weight_inputs import NewWeightSet

MEASURED: dict[str, Any] = {
    **{"deployment_id": "chat", "weight_set_id": "measured", "version": 2},
    **{"uncached": 60_000, "cache_read": 400, "cache_write": 60_000, "output": 359_600},
}


async def enter_measured(
    connection: Connection,
    since: datetime,
    until: datetime | None = None,
    *,
    replace: bool = False,
    **said: Any,
) -> None:
    """Put `MEASURED`, or what is said otherwise, in force."""
    valid = {"valid_from": since.isoformat(), "valid_to": until and until.isoformat()}
    new = read_input(NewWeightSet, MEASURED | valid | said)
    await enter_weight_set(
        connection, new, Author("cli:test", "measured", "req-1"), replace=replace
    )


async def enter_idle(
    connection: Connection,
    since: datetime,
    method: str,
    *,
    replace: bool = False,
    **said: Any,
) -> None:
    """Put a policy of idle of the factory in force."""
    valid = {"entity_id": "factory", "valid_from": since.isoformat(), "method": method}
    new = read_input(NewIdlePolicy, valid | said)
    await enter_idle_policy(connection, new, Author("cli:test", "agreed", "req-1"), replace=replace)
