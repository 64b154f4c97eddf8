"""What the ledger books by customer, against engines whose every joule is known.

Events, readings and inputs go in as anybody's do, and what they come to is read from the margin.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ledger.domain.cost.weights import Weights
from ledger.flows.cost.allocate import allocate
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from tests.support.batching import Physics, Request, Run, Served, simulate
from tests.support.books import Books
from tests.support.loads import HOUR, SCENARIOS, any_load, one_of_eight, steady_mix
from tests.support.usage import Event, Gate, keyed

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
END = START + timedelta(hours=1)
QUARTER = timedelta(minutes=15)
LATER = datetime(2026, 3, 2, 14, tzinfo=UTC)
EIGHT = "one-of-eight"
REPLICAS = [f"{EIGHT}-{n}" for n in range(8)]
# The law of the simulated engines in whole microjoules, measured once, as an operator would.
WEIGHTS = Weights(
    version=2,
    uncached=60_000,
    cache_read=400,
    cache_write=60_000,
    output=359_600,
    context=20_000,
    step=27_430_000,
)
IDLE_MW = 440_000
# Of loads by chance.
SEEDS = (1, 2, 3, 5, 8, 13)
Runs = Mapping[str, Run]


def at(second: float) -> str:
    return (START + timedelta(seconds=second)).isoformat()


def event(scenario: str, number: int, one: Served, instance: str) -> Event:
    """As a gateway sends it, which began to count when it took the request."""
    ask = one.request
    begun = ask.at - ask.queued_s
    tokens = {"uncached": ask.uncached, "cache_read": ask.cached, "cache_write": 0}
    return {
        "specversion": "1.0",
        "id": f"{scenario}-{number:06}",
        "source": "/gateways/eu-1",
        "type": "inference.usage.v1",
        "time": at(one.ended),
        "data": {
            "customer_id": f"{scenario}.{ask.customer}",
            "served_model": scenario,
            "started_at": at(begun),
            "first_token_at": at(one.first_token),
            "ended_at": at(one.ended),
            "queue_ms": round((one.started - begun) * 1_000),
            "engine": {"instance": instance},
            "usage": {"input": tokens, "output": {"visible": ask.output, "reasoning": 0}},
        },
    }


def events(runs: Runs) -> Iterator[Sequence[Event]]:
    for scenario, run in runs.items():
        instance = REPLICAS[0] if scenario == EIGHT else scenario
        yield [event(scenario, n, one, instance) for n, one in enumerate(run.served)]


async def build(books: Books, runs: Runs) -> None:
    """A factory in which each scenario has an engine of its own, and one has eight."""
    await books.entity()
    await books.facility()
    await books.pue(START, END, pue="1")
    await books.tariff([(START, END, "100")])
    await books.lease(START, END, gpu_count=len(SCENARIOS) + 8, rate="2", all_in=False)
    for scenario, run in runs.items():
        boards = REPLICAS if scenario == EIGHT else [scenario]
        for customer in run.of_customers():
            await books.customer(f"{scenario}.{customer}")
        await books.deployment(
            START,
            END,
            deployment_id=scenario,
            model=scenario,
            gpus=boards,
            instances=boards,
            weights=WEIGHTS,
            idle_mw_per_gpu=IDLE_MW,
            prefill_chunk=Physics().chunk,
        )
        idle = simulate([], HOUR)
        for board in boards:
            meter = run if board in {scenario, REPLICAS[0]} else idle
            seconds = range(0, HOUR + 1, 10)
            read = zip(seconds, meter.readings(seconds), strict=True)
            await books.readings(board, [(START + timedelta(seconds=s), mj) for s, mj in read])


async def book(worker: Connection, runs: Runs) -> MarginReport:
    await build(Books(worker), runs)
    return await allocated(worker, runs)


async def allocated(worker: Connection, runs: Runs) -> MarginReport:
    """What a margin tells once the events of these runs are there."""
    await prepare_storage(worker, now=LATER)
    gate = Gate(worker, IngestLimits())
    for sent in events(runs):
        outcomes = await gate.outcomes(keyed(*sent))
        assert {*outcomes} == {"created"}
    await allocate(worker, now=LATER)
    return await margin_report(
        worker,
        entity_id="factory",
        since=START,
        until=END,
        cut_off=await draw_cut_off(worker, "report"),
        by=("model", "customer"),
    )


def errors(report: MarginReport, scenario: str, run: Run) -> dict[str, float]:
    """How far each customer, and idle, is from true, in hundredths."""
    spare = simulate([], HOUR).idle_j * (7 if scenario == EIGHT else 0)
    true = {f"{scenario}.{name}": joules for name, joules in run.of_customers().items()}
    true["idle"] = run.idle_j + spare
    booked = {row.group[1]: row.device_mj for row in report.rows if row.group[0] == scenario}
    own = [one for one in report.own_lines if one.scope == f"deployment:{scenario}"]
    booked["idle"] = sum(one.metered_mj + one.estimated_mj for one in own if one.line == "idle")
    assert booked.keys() == true.keys()
    return {name: 100 * (booked[name] / 1_000 / true[name] - 1) for name in true}


async def test_every_joule_finds_who_used_it(worker: Connection) -> None:
    runs = {name: simulate(load(), HOUR) for name, load in SCENARIOS.items()}
    runs[EIGHT] = simulate(one_of_eight(), HOUR)
    report = await book(worker, runs)
    off = {name: errors(report, name, run) for name, run in runs.items()}
    for name, of_scenario in off.items():
        limit = 10 if name == "short-at-low-load" else 2
        for who, error in of_scenario.items():
            assert abs(error) <= (3 if who == "idle" else limit), (name, who, error)
    (idle,) = [
        one for one in report.own_lines if (one.scope, one.line) == (f"deployment:{EIGHT}", "idle")
    ]
    busy_hours = runs[EIGHT].busy_s / 3_600
    assert float(idle.gpu_cost) == pytest.approx(2 * (8 - busy_hours), rel=0.001)
    assert report.conservation.energy_residual_mj == 0
    assert report.conservation.cost_residual == 0


@pytest.mark.timeout(300)
async def test_loads_of_chance_find_who_used_them_too(worker: Connection) -> None:
    """More than the scenarios: up to five kinds of requests of any size, by seed."""
    runs = {f"load-{seed}": simulate(any_load(seed), HOUR) for seed in SEEDS}
    report = await book(worker, runs)
    for name, run in runs.items():
        for who, error in errors(report, name, run).items():
            assert abs(error) <= 5, (name, who, error)
    assert report.conservation.energy_residual_mj == 0


async def test_each_replica_is_paid_for_by_who_ran_on_it(worker: Connection) -> None:
    """One of two takes twice as much for the same work, by its own boards."""
    law, books = Physics(), Books(worker)
    joules = ("step_j", "output_j", "uncached_j", "cached_j", "context_j")
    hungry = replace(law, **{name: 2 * getattr(law, name) for name in joules})
    runs = {"new": simulate(steady_mix(), HOUR), "old": simulate(steady_mix(), HOUR, hungry)}
    await books.entity()
    await books.facility()
    await books.pue(START, END, pue="1")
    await books.tariff([(START, END, "100")])
    await books.lease(START, END, gpu_count=2, rate="2", all_in=False)
    await books.deployment(
        START,
        END,
        gpus=[*runs],
        instances=[*runs],
        weights=WEIGHTS,
        idle_mw_per_gpu=IDLE_MW,
        instance_gpus={name: [name] for name in runs},
    )
    for name, run in runs.items():
        for customer in run.of_customers():
            await books.customer(f"{name}.{customer}")
        seconds = range(0, HOUR + 1, 10)
        read = zip(seconds, run.readings(seconds), strict=True)
        await books.readings(name, [(START + timedelta(seconds=s), mj) for s, mj in read])
    report = await allocated(worker, runs)
    booked = {row.group: row.device_mj / 1_000 for row in report.rows}
    true = {
        (name, f"{name}.{customer}"): joules
        for name, run in runs.items()
        for customer, joules in run.of_customers().items()
    }
    assert booked == {who: pytest.approx(joules, rel=0.02) for who, joules in true.items()}
    assert report.conservation.energy_residual_mj == 0
    assert report.conservation.cost_residual == 0


async def sent(worker: Connection, *events: Event) -> dict[tuple[datetime, str], int]:
    """Energy by window and line, after a quiet engine served these."""
    rest = {"quiet": simulate([], HOUR)}
    await build(Books(worker), rest)
    await Books(worker).customer("quiet.only")
    await prepare_storage(worker, now=LATER)
    await Gate(worker).send(keyed(*events))
    await allocate(worker, now=LATER)
    rows = await worker.fetch(
        """SELECT window_start, line, device_metered_mj FROM cost_lines_at(as_it_stands())
            WHERE window_start < $1""",
        END,
    )
    return {(row[0], row[1]): row[2] for row in rows if row[2]}


async def test_a_record_of_hours_goes_over_the_seconds_in_which_its_engine_ran(
    worker: Connection,
) -> None:
    ask = Request("only", 0, 1_000, 0, 1_000)
    record = event("quiet", 1, Served(ask, 0, 60, 2.5 * HOUR), "quiet")
    del record["data"]["first_token_at"]
    booked = await sent(worker, record)
    assert booked == {(START + n * QUARTER, "usage"): 396_000_000 for n in range(4)}


async def test_energy_of_attempts_that_all_failed_is_nobodys_and_not_idle(
    worker: Connection,
) -> None:
    failed = event("quiet", 1, Served(Request("only", 0, 0, 0, 0), 0, 900, 900), "quiet")
    failed["data"]["status"] = "engine_error"
    booked = await sent(worker, failed)
    assert booked.pop((START, "unattributed")) == 396_000_000
    assert booked == {(START + n * QUARTER, "idle"): 396_000_000 for n in range(1, 4)}
