"""A deployment's weights from what it sent: proposed with evidence, in force once entered."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.author import Author
from ledger.domain.errors import InvalidInputError
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.reference.enter_weights import enter_weight_set
from ledger.reports.cost.calibration import CALIBRATION, CalibrationReport
from ledger.reports.report import Asked, ReportScope
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.weight_inputs import NewWeightSet
from tests.flows.test_true_cost import event
from tests.support.batching import Physics, Run, simulate
from tests.support.books import Books
from tests.support.loads import HOUR, varied
from tests.support.usage import Gate, keyed

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
END = START + timedelta(hours=1)
LATER = datetime(2026, 3, 2, 14, tzinfo=UTC)
TRUE = {
    **{"idle": 440_000, "uncached": 60_000, "cache_read": 400, "output": 359_600},
    **{"context": 20_000, "step": 27_430_000},
}
SCRAPED = range(0, HOUR + 1, 15)


def tokens(run: Run, second: int) -> tuple[int, int]:
    """Prompt and answer tokens that the engine has counted by then."""
    asked, written = 0, 0.0
    for one in run.served:
        if one.first_token <= second:
            asked += one.request.uncached + one.request.cached
            length = max(one.ended - one.first_token, 1e-6)
            written += one.request.output * min((second - one.first_token) / length, 1)
    return asked, int(written)


async def build(
    worker: Connection,
    run: Run,
    *,
    steps: bool = True,
    every: int = 0,
    phases: Sequence[str] = (),
) -> Books:
    """An hour of one engine: its meter each second, its counters every 15 s, with seconds of these
    phases, events as they end; one of `every` so many never comes."""
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, END + timedelta(hours=1), all_in=True)
    for customer in run.of_customers():
        await books.customer(f"chat.{customer}")
    await books.deployment(
        START, END + timedelta(hours=1), model="chat", gpus=["GPU-a"], instances=["chat"]
    )
    seconds = range(0, HOUR + 1)
    read = zip(seconds, run.readings(seconds), strict=True)
    await books.readings("GPU-a", [(START + timedelta(seconds=s), mj) for s, mj in read])
    counted = [(START + timedelta(seconds=s), *tokens(run, s)) for s in SCRAPED]
    values = [(at, "prompt_tokens", asked) for at, asked, _ in counted]
    values += [(at, "generation_tokens", written) for at, _, written in counted]
    times = [at for at, *_ in counted]
    if steps:
        values += [(at, "steps", n) for at, n in zip(times, run.counted(SCRAPED), strict=True)]
    await books.counters("chat", values)
    for phase in phases:
        timed = zip(times, run.timed(phase, SCRAPED), strict=True)
        worked = [(at, "busy_seconds", Decimal(round(s * 1_000)).scaleb(-3)) for at, s in timed]
        await books.counters("chat", worked, labels={"phase": phase})
    await prepare_storage(worker, now=LATER)
    sent = [event("chat", n, one, "chat") for n, one in enumerate(run.served)]
    if every:
        del sent[::every]
    gate = Gate(worker, IngestLimits())
    for since in range(0, len(sent), 500):
        assert {*await gate.outcomes(keyed(*sent[since : since + 500]))} == {"created"}
    return books


async def report(worker: Connection, **options: str) -> CalibrationReport:
    cut_off = await draw_cut_off(worker, "report")
    scope = ReportScope(entity_id="factory", since=START, until=END, cut_off=cut_off)
    asked: CalibrationReport = await CALIBRATION.read(
        worker, scope, Asked({**CALIBRATION.defaults, **options})
    )
    return asked


def shown(found: CalibrationReport) -> Sequence[Any]:
    items: Sequence[Any] = CALIBRATION.to_json(found)["items"]  # type: ignore[assignment]
    return items


def texts(value: Any) -> Any:
    """A proposal as JSON has it."""
    if isinstance(value, dict):
        return {name: texts(each) for name, each in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value


async def test_a_varied_hour_proposes_true_weights_and_entering_them_puts_them_in_force(
    worker: Connection,
) -> None:
    await build(worker, simulate(varied(2), HOUR))
    (told,) = shown(await report(worker))
    assert told["refusals"] == []
    assert {term["term"]: term["value"] for term in told["terms"]} == {
        name: pytest.approx(value, rel=0.05) for name, value in TRUE.items()
    }
    assert told["drifted"] is True
    proposal = texts(told["proposal"])
    assert proposal["evidence"]["slots"] > 200
    assert proposal["version"] == 2
    author = Author("cli:test", "agreed", "req-1")
    await enter_weight_set(worker, read_input(NewWeightSet, proposal), author)
    kept = await worker.fetchrow("SELECT source, evidence FROM weight_set")
    assert kept is not None
    assert kept["source"] == "calibrated"
    assert kept["evidence"]["low"]["step"] < 27_430_000 < kept["evidence"]["high"]["step"]
    # The set is in force from the end on; of the hour itself nothing changed.
    (again,) = shown(await report(worker))
    assert again["terms"][-1]["in_force"] == 0
    assert list(CALIBRATION.show(await report(worker), Asked({})))[-1] == (
        f"To be replaced: {told['moved_percent']} % of the energy moves. The set to enter, if you"
        " agree, is `proposal` in --json."
    )
    true = {name: value for name, value in TRUE.items() if name != "idle"}
    new = {"deployment_id": "chat", "weight_set_id": "true", "version": 3, "cache_write": 60_000}
    new |= {"valid_from": START.isoformat(), "idle_mw_per_gpu": 440_000} | true
    entered = read_input(NewWeightSet, new | {"valid_to": END.isoformat()})
    await enter_weight_set(worker, entered, author)
    (settled,) = shown(await report(worker))
    assert settled["drifted"] is False
    assert float(settled["moved_percent"]) < 2
    assert settled["proposal"]["version"] == 4


async def test_nothing_is_proposed_without_steps_and_all_events(worker: Connection) -> None:
    await build(worker, simulate(varied(2), HOUR), steps=False, every=20)
    (told,) = shown(await report(worker, deployment="chat"))
    reasons = [refusal["reason"] for refusal in told["refusals"]]
    assert {"no_step_counts", "unclaimed_tokens"} <= {*reasons}
    assert told["proposal"] is None
    assert told["drifted"] is False


async def test_an_engine_that_times_its_phases_is_weighed_by_what_each_draws(
    worker: Connection,
) -> None:
    run = simulate(varied(2), HOUR, Physics(mixed=False))
    await build(worker, run, steps=False, phases=("extend", "decode"))
    (told,) = shown(await report(worker, source="phase_time"))
    assert told["refusals"] == []
    assert [rate["phase"] for rate in told["rates"]] == ["idle", "prefill", "decode"]
    assert told["rates"][0]["mw"] == pytest.approx(440_000, rel=0.05)
    # A step of the law, with the part of an answer's token that goes by time.
    assert {term["term"]: term["value"] for term in told["terms"]}["step"] == pytest.approx(
        TRUE["step"], rel=0.15
    )
    proposal = texts(told["proposal"])
    assert proposal["source"] == "phase_time"
    author = Author("cli:test", "agreed", "req-1")
    await enter_weight_set(worker, read_input(NewWeightSet, proposal), author)
    assert await worker.fetchval("SELECT source FROM weight_set") == "phase_time"


async def test_an_engine_without_timers_of_phases_is_refused_by_name(worker: Connection) -> None:
    await build(worker, simulate(varied(2), HOUR))
    (told,) = shown(await report(worker, source="phase_time"))
    assert [refusal["reason"] for refusal in told["refusals"]] == ["no_phase_times"]
    assert told["proposal"] is None


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"deployment": "quiet"}, "quiet"),
        ({"hold": "prompt=4"}, "prompt"),
        ({"hold": "idle=x"}, "idle"),
        ({"source": "guessed"}, "guessed"),
        ({"source": "phase_time", "hold": "idle=4"}, "hold"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(
    worker: Connection, options: dict[str, str], where: str
) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, END)
    with pytest.raises(InvalidInputError, match=where):
        await report(worker, **options)
