"""Keeps what deployments took beside what their fitted weights say, hour by hour."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Unpack

from ledger.domain.cost.drift import FittedInForce, FittedSet, WeightCheck, identifies
from ledger.domain.cost.weights import Weights
from ledger.domain.period import Period
from ledger.store.connect import CutOff, draw_batch_seq
from ledger.store.copying import copy_rows
from ledger.store.queries import Connection, load_queries
from ledger.store.within import Within

if TYPE_CHECKING:
    import asyncpg

CHECKS = load_queries("cost/weight_checks")
COLUMNS = (
    *("entity_id", "deployment_id", "since", "until", "weight_set_id", "version"),
    *("slots", "measured_mj", "expected_mj", "low_mj", "high_mj", "cut_off_id", "batch_seq"),
)


@dataclass(frozen=True, slots=True)
class DriftedWeights:
    """What a deployment took of an hour, outside of what its weight set in force says."""

    entity_id: str
    deployment_id: str
    weight_set_id: str
    version: int
    since: datetime
    until: datetime
    slots: int
    measured_mj: int
    expected_mj: int
    low_mj: int
    high_mj: int


async def find_fitted_sets(
    connection: Connection, *, entity_id: str, **within: Unpack[Within]
) -> list[FittedInForce]:
    """Fitted sets in force somewhere in [since, until), by deployment and time."""
    rows = await CHECKS["find_fitted_sets"].rows(connection, entity_id=entity_id, **within)
    return [_in_force(row) for row in rows]


def _in_force(row: "asyncpg.Record") -> FittedInForce:
    fitted = FittedSet.of(
        (row["deployment_id"], row["weight_set_id"]),
        Weights(
            *(row["version"], row["uncached"], row["cache_read"], row["cache_write"]),
            *(row["output"], row["context"], row["step"]),
        ),
        row["idle_mw_per_gpu"],
        {"low": row["low"], "high": row["high"]},
    )
    errors = row["fit_error_percent"], row["holdout_error_percent"]
    enough = row["unread"] == "estimated" and identifies(row["condition"], errors)
    return FittedInForce(fitted, row["valid_from"], row["valid_to"], enough)


async def append_checks(
    connection: Connection,
    checks: Sequence[tuple[FittedSet, WeightCheck]],
    *,
    entity_id: str,
    period: Period,
    cut_off: CutOff,
) -> int:
    """Store what was seen of a time in one batch of this transaction; how many rows."""
    if not checks:
        return 0
    stamp = (cut_off.cut_off_id, await draw_batch_seq(connection))
    rows = [
        (
            *(entity_id, fitted.deployment_id, period.start, period.end),
            *(fitted.weight_set_id, fitted.version, *astuple(check), *stamp),
        )
        for fitted, check in checks
    ]
    await copy_rows(connection, "weight_check", COLUMNS, rows)
    return len(rows)


@dataclass(frozen=True, slots=True)
class WeightsUsed:
    """Weights by which cost of a deployment was shared in [valid_from, valid_to), and between what
    the fitted ones among them lie."""

    deployment_id: str
    weight_set_id: str | None
    version: int
    source: str
    valid_from: datetime
    valid_to: datetime
    fitted: Mapping[str, int | None]
    low: Mapping[str, int | None] | None
    high: Mapping[str, int | None] | None


async def list_weights_used(
    connection: Connection, *, entity_id: str, **within: Unpack[Within]
) -> list[WeightsUsed]:
    """Weights of an entity's deployments over some time, by deployment and time."""
    return await CHECKS["list_weights_used"].values(
        connection, WeightsUsed, entity_id=entity_id, **within
    )


async def list_drifted(connection: Connection, *, now: datetime) -> list[DriftedWeights]:
    """Deployments of every entity whose weights in force no longer say what they take."""
    return await CHECKS["list_drifted"].values(connection, DriftedWeights, now=now)
