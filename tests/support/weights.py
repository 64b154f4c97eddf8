"""Weight sets and policies of idle as somebody enters them."""

from datetime import datetime
from typing import Any

from ledger.domain.author import Author
from ledger.flows.reference.enter_idle import enter_idle_policy
from ledger.flows.reference.enter_weights import enter_weight_set
from ledger.store.connect import draw_batch_seq
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


async def add_weight_check(
    connection: Connection, since: datetime, until: datetime, *, measured_mj: int
) -> None:
    """What a check of `MEASURED` found, that says 2 mJ."""
    async with connection.transaction():
        await connection.execute(
            """INSERT INTO weight_check (entity_id, deployment_id, since, until, weight_set_id,
                    version, slots, measured_mj, expected_mj, low_mj, high_mj, cut_off_id,
                    batch_seq)
               SELECT 'factory', 'chat', $1, $2, 'measured', 2, 240, $3, 2, 2, 2, cut_off_id, $4
                 FROM draw_cut_off('test')""",
            *(since, until, measured_mj, await draw_batch_seq(connection)),
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
