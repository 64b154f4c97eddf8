"""Fitted weights in force are held against each hour, and status names those that have drifted."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from ledger.flows.cost.check_weights import check_weights
from ledger.store.cost.weight_checks import DriftedWeights, list_drifted
from ledger.store.queries import Connection
from tests.reports.test_calibration import END, START, build
from tests.support.batching import simulate
from tests.support.loads import HOUR, varied
from tests.support.weights import enter_measured

LATER = END + timedelta(minutes=20)
TERMS = {
    **{"idle": 440_000, "uncached": 60_000, "cache_read": 400, "output": 359_600},
    **{"context": 20_000, "step": 27_430_000},
}


async def enter_fitted(
    worker: Connection,
    *,
    times: int = 1,
    version: int = 2,
    law: Mapping[str, int] = MappingProxyType(TERMS),
    **also: Any,
) -> None:
    """So many times the law of the engine, each weight known to 1 %."""
    terms = {name: value * times for name, value in law.items()}
    evidence: dict[str, Any] = {
        **{"since": START.isoformat(), "until": END.isoformat(), "cut_off_id": 1, "slots": 240},
        **{"idle_slots": 30, "fit_error_percent": "0.2", "holdout_error_percent": "0.3"},
        "condition": "5",
        "low": {name: value * 99 // 100 for name, value in terms.items()},
        "high": {name: value * 101 // 100 for name, value in terms.items()},
    }
    said: dict[str, Any] = {
        **{name: value for name, value in terms.items() if name != "idle"},
        **{"version": version, "cache_write": terms["uncached"], "source": "calibrated"},
        **{"idle_mw_per_gpu": terms["idle"], "evidence": evidence},
    }
    await enter_measured(worker, START, replace=version > 2, **said | also)


async def checked(worker: Connection, now: datetime = LATER) -> tuple[int, list[DriftedWeights]]:
    run = await check_weights(worker, now=now)
    return run.rows_written, await list_drifted(worker, now=now)


async def test_without_fitted_weights_nothing_is_checked(worker: Connection) -> None:
    await build(worker, simulate(varied(2), HOUR))
    await enter_measured(worker, START)
    assert await checked(worker) == (0, [])


async def test_weights_of_the_law_are_left_alone(worker: Connection) -> None:
    await build(worker, simulate(varied(2), HOUR))
    await enter_fitted(worker)
    assert await checked(worker, now=END + timedelta(minutes=14)) == (0, [])
    assert await checked(worker) == (1, [])
    assert await checked(worker, now=LATER + timedelta(minutes=1)) == (0, [])


async def test_weights_that_say_too_much_are_named_with_numbers_and_stay_in_force(
    worker: Connection,
) -> None:
    await build(worker, simulate(varied(2), HOUR))
    await enter_fitted(worker, times=2)
    written, (drifted,) = await checked(worker)
    assert written == 1
    assert (drifted.deployment_id, drifted.weight_set_id, drifted.version) == (
        "chat",
        "measured",
        2,
    )
    assert (drifted.since, drifted.until) == (START, END)
    assert drifted.expected_mj == pytest.approx(2 * drifted.measured_mj, rel=0.01)
    assert drifted.measured_mj < drifted.low_mj < drifted.expected_mj < drifted.high_mj
    assert await worker.fetchval("SELECT count(*) FROM weight_set") == 1
    # Others in their place are not told of by a check of these.
    await enter_fitted(worker, version=3)
    assert await list_drifted(worker, now=LATER) == []


async def test_an_hour_of_which_events_tell_too_little_is_not_held_against_weights(
    worker: Connection,
) -> None:
    await build(worker, simulate(varied(2), HOUR), every=20)
    await enter_fitted(worker, times=2)
    assert await checked(worker) == (0, [])
