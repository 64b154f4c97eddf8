"""A real GPU under a real load: what its collector and gateway sent, through ingest to weights.

Recorded by `make gpu`: an H200 that serves a decoder of the shape of an 8B model, for 270 s.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from ledger.flows.cost.allocate import allocate
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.reference.enter import enter_deployment
from ledger.reports.cost.calibration import CALIBRATION
from ledger.reports.energy.energy import energy_report
from ledger.reports.report import Asked, ReportScope
from ledger.store.connect import draw_cut_off
from ledger.store.cost.producers import list_implausible
from ledger.store.queries import Connection
from ledger.store.within import OfEntity
from ledger.wire.factory_inputs import NewDeployment
from ledger.wire.inputs import read_input
from tests.reports.test_calibration import shown
from tests.support.books import Books
from tests.support.usage import AUTHOR, Gate, keyed

RECORDING = Path(__file__).parents[1] / "golden" / "gpu" / "nvidia-h200.json"
SINCE, UNTIL = (
    datetime(2026, 11, 29, 19, 15, tzinfo=UTC),
    datetime(2026, 11, 29, 19, 45, tzinfo=UTC),
)
Sent = Sequence[Mapping[str, Any]]


@pytest.fixture(scope="module")
def sent() -> Sent:
    with gzip.open(RECORDING.with_suffix(".ndjson.gz"), "rt") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def said() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(RECORDING.read_text())
    return found


async def test_a_real_board_is_metered_to_the_millijoule_and_its_weights_fit_its_phases(
    worker: Connection, sent: Sent, said: Mapping[str, Any]
) -> None:
    await _open(worker, sent)
    gate = Gate(worker, IngestLimits())
    for since in range(0, len(sent), 500):
        record = keyed(*(dict(event) for event in sent[since : since + 500]))
        (outcomes,) = await gate.send(record, now=UNTIL)
        assert {item.outcome for item in outcomes.items()} == {"created"}
    await allocate(worker, now=UNTIL + timedelta(hours=1))
    scope = await _scope(worker)
    energy = await energy_report(worker, **scope)
    assert energy.findings == ()
    counted = [event["data"]["energy_mj"] for event in _of("gpu.energy.v1", sent)]
    assert sum(row.device_metered_mj for row in energy.by_scope) == counted[-1] - counted[0]
    assert sum(row.device_estimated_mj for row in energy.by_scope) == 0
    assert await list_implausible(worker, **_within(scope)) == []
    read = await CALIBRATION.read(worker, scope, Asked({**CALIBRATION.defaults}))
    told = shown(read)[0]
    weights = {term["term"]: term["value"] for term in told["terms"]}
    for phase, joules in _predicted(weights, sent, said):
        assert joules == pytest.approx(phase["joules"], rel=0.1), phase["name"]
    # Four minutes in stretches of two seconds are too little, and it says so.
    reasons = {refusal["reason"] for refusal in told["refusals"]}
    assert {"fit_error", "wide_interval"} <= reasons
    assert told["proposal"] is None


def _predicted(
    weights: Mapping[str, int], sent: Sent, said: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Each phase with the joules that the weights put on what was served in it."""
    readings = _of("gpu.energy.v1", sent)
    offset = median(_at(one["time"]) - one["data"]["monotonic_us"] / 1e6 for one in readings)
    served = [event["data"] for event in _of("inference.usage.v1", sent)]
    for mark, phase in zip(said["marks"], said["phases"], strict=True):
        since, until = mark["began_s"] + offset, mark["ended_s"] + offset
        rest_s = mark["ended_s"] - mark["began_s"] - mark["prefill_s"] - mark["decode_s"]
        joules = weights["idle"] / 1e3 * rest_s + weights["step"] / 1e6 * mark["steps"]
        for one in served:
            if since <= _at(one["first_token_at"]) < until:
                read = one["usage"]["input"]["uncached"]
                written = one["usage"]["output"]["visible"]
                context = written * (read + written / 2) / 1_000
                joules += weights["uncached"] / 1e6 * read + weights["output"] / 1e6 * written
                joules += weights["context"] / 1e6 * context
        yield phase, joules


def test_the_counter_agrees_with_the_power_beside_it(said: Mapping[str, Any]) -> None:
    assert said["counter_against_power_loaded"]["ratio"] == pytest.approx(1, abs=0.002)
    assert said["counter_update_ms_idle"]["median"] == pytest.approx(100, abs=1)


def test_no_reading_is_missed_and_none_goes_back(sent: Sent) -> None:
    readings = [event["data"] for event in _of("gpu.energy.v1", sent)]
    assert len({one["epoch"] for one in readings}) == 1
    for before, after in pairwise(readings):
        assert 0 <= after["energy_mj"] - before["energy_mj"] < 700_000
        assert 0 < after["monotonic_us"] - before["monotonic_us"] < 400_000


async def _open(worker: Connection, sent: Sent) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(SINCE, UNTIL, all_in=True)
    await books.customer("load")
    (gpu,) = {event["data"]["gpu_uuid"] for event in _of("gpu.energy.v1", sent)}
    new: dict[str, Any] = {"deployment_id": "chat", "asset_id": "rack", "model": "random-8b"}
    new |= {"gpu_uuids": [gpu], "engine_instances": ["gpu:8000"], "slot_s": 1}
    new |= {"valid_from": SINCE.isoformat(), "valid_to": UNTIL.isoformat()}
    await enter_deployment(worker, read_input(NewDeployment, new), AUTHOR)
    await prepare_storage(worker, now=UNTIL)


async def _scope(worker: Connection) -> ReportScope:
    cut_off = await draw_cut_off(worker, "report")
    return ReportScope(entity_id="factory", since=SINCE, until=UNTIL, cut_off=cut_off)


def _within(scope: ReportScope) -> OfEntity:
    return {
        "entity_id": scope["entity_id"],
        "since": scope["since"],
        "until": scope["until"],
        "batch_seq": scope["cut_off"].batch_seq,
    }


def _of(kind: str, sent: Sent) -> Sent:
    return [event for event in sent if event["type"] == kind]


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
