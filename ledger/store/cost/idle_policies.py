"""Writes and reads who pays for what stood idle, and what its policies go by."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Unpack

from ledger.domain.cost.cost_sum import CostSum
from ledger.domain.cost.idle_policy import IdlePolicy
from ledger.store.dated import DatedTable
from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity

IDLE = load_queries("cost/idle_policies")
IDLE_POLICIES = DatedTable(
    "idle policy",
    ("entity_id", "scope"),
    IDLE["find_open_idle_policies"],
    IDLE["supersede_idle_policies"],
    IDLE["insert_idle_policy"],
)


class DeployedGpus(NamedTuple):
    """Seconds of parts of GPUs that a deployment had of an asset; both named as scopes."""

    asset_scope: str
    scope: str
    part_s: int


async def find_scope_owner(connection: Connection, scope: str) -> str | None:
    """The entity of a deployment or asset; None where there is none of that name."""
    owner: str | None = await IDLE["find_scope_owner"].value(connection, scope=scope)
    return owner


async def list_tiers(connection: Connection, entity_id: str) -> list[str]:
    """Tiers that an entity deploys for, prices, or served anything on."""
    return [row["tier"] for row in await IDLE["list_tiers"].rows(connection, entity_id=entity_id)]


async def find_idle_policies(
    connection: Connection, **within: Unpack[OfEntity]
) -> list[IdlePolicy]:
    """Policies of an entity valid somewhere in [since, until)."""
    return await IDLE["find_idle_policies"].values(connection, IdlePolicy, **within)


async def sum_deployed_gpus(
    connection: Connection, **within: Unpack[OfEntity]
) -> list[DeployedGpus]:
    """What deployments of an entity had of each asset in [since, until)."""
    return await IDLE["sum_deployed_gpus"].values(connection, DeployedGpus, **within)


class Peak(NamedTuple):
    """The quarter hour in which who used a scope cost most."""

    scope: str
    window_start: datetime


async def find_peaks(connection: Connection, **within: Unpack[OfEntity]) -> list[Peak]:
    """The dearest quarter hour of each scope in [since, until)."""
    return await IDLE["find_peaks"].values(connection, Peak, **within)


async def sum_peak_lines(
    connection: Connection, peaks: Sequence[Peak], *, entity_id: str, batch_seq: int
) -> list[CostSum]:
    """Cost of who used each scope at its peak."""
    return await IDLE["sum_peak_lines"].values(
        connection,
        CostSum,
        scopes=[peak.scope for peak in peaks],
        windows=[peak.window_start for peak in peaks],
        entity_id=entity_id,
        batch_seq=batch_seq,
    )
