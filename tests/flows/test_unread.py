"""Time in which no meter was read is estimated by fitted weights, and given up for readings."""

import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from ledger.domain.cost.line_runs import LINE, LINE_KEY
from ledger.domain.cost.unread import GpuEstimate
from ledger.domain.energy.span import BY_WEIGHTS
from ledger.domain.errors import MissingInputError
from ledger.domain.period import DAY, Period
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.check_books import check_books
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.recall import recall_lines
from ledger.flows.cost.thin import thin
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.reports.cost.evidence import AskedCost, trace_cost
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.store.connect import connect, draw_cut_off
from ledger.store.cost.allocations import find_allocations
from ledger.store.queries import Connection
from tests.flows.test_check_weights import enter_fitted
from tests.flows.test_true_cost import END, LATER, START, event
from tests.support.batching import Run, simulate
from tests.support.books import Books
from tests.support.database import fresh_database
from tests.support.loads import HOUR, SCENARIOS, any_load, varied
from tests.support.usage import Gate, keyed

QUARTER = 900
ONE_BOARD = {"chat": ["GPU-a"]}
NOTHING = (0, Decimal(0))
WINDOWS = [START + timedelta(seconds=QUARTER * n) for n in range(4)]


async def build(
    worker: Connection,
    run: Run,
    *,
    unread: str | None = "estimated",
    without: slice = slice(0),
    boards: Mapping[str, Sequence[str]] = ONE_BOARD,
) -> Books:
    """An hour of one engine by events, without a reading, and without some of the events."""
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.pue(START, END, pue="1.3", host_mw_per_gpu=40_000)
    await books.tariff([(START, END, "100")])
    gpus = [gpu for own in boards.values() for gpu in own]
    await books.lease(START, END, rate="2", all_in=False, gpu_count=len(gpus))
    for customer in run.of_customers():
        await books.customer(f"chat.{customer}")
    await books.deployment(
        START, END, model="chat", gpus=gpus, instances=[*boards], instance_gpus=boards
    )
    if unread is not None:
        await enter_fitted(worker, unread=unread)
    await prepare_storage(worker, now=LATER)
    await send(worker, run, without=without)
    return books


async def send(
    worker: Connection,
    run: Run,
    *,
    at: slice = slice(None),
    without: slice = slice(0),
    now: datetime = LATER,
) -> None:
    gate = Gate(worker, IngestLimits())
    every = [event("chat", n, one, "chat") for n, one in enumerate(run.served)]
    numbers = range(len(every))
    sent = [every[n] for n in numbers[at] if n not in numbers[without]]
    for since in range(0, len(sent), 500):
        found = await gate.send(keyed(*sent[since : since + 500]), now=now)
        assert {item.outcome for one in found for item in one.items()} == {"created"}


async def read(
    books: Books,
    run: Run,
    seconds: Iterable[int],
    *,
    epoch: str = "boot-1",
    gpu: str = "GPU-a",
) -> None:
    """The meter's counter at these seconds of the hour; another epoch's begins at 0."""
    every = list(seconds)
    shown = run.readings(every)
    base = 0 if epoch == "boot-1" else shown[0]
    times = (START + timedelta(seconds=second) for second in every)
    counter = [(at, mj - base) for at, mj in zip(times, shown, strict=True)]
    await books.readings(gpu, counter, epoch=epoch)


async def lines(worker: Connection) -> pl.DataFrame:
    found = await find_allocations(worker, entity_id="factory", windows=WINDOWS, scopes=None)
    return found.lines.frame().select(LINE.keys()).sort(LINE_KEY)


async def margin(worker: Connection) -> MarginReport:
    cut_off = await draw_cut_off(worker, "report")
    asked = {"entity_id": "factory", "since": START, "until": END, "by": ("customer",)}
    return await margin_report(worker, cut_off=cut_off, **asked)  # type: ignore[arg-type]


async def metered(worker: Connection) -> Sequence[tuple[int, int, int, list[str]]]:
    """Metered, estimated, covered and findings of each quarter hour."""
    rows = await worker.fetch(
        """SELECT DISTINCT ON (window_start) metered_mj, estimated_mj, covered_s, findings
             FROM meter_window ORDER BY window_start, revision DESC"""
    )
    return [tuple(row) for row in rows]


def true_mj(run: Run, quarter: int) -> int:
    first, last = run.readings([QUARTER * quarter, QUARTER * (quarter + 1)])
    return last - first


async def estimates(worker: Connection, quarter: int) -> Sequence[GpuEstimate]:
    """What a trace says of the estimates of a quarter hour."""
    asked = AskedCost("factory", "deployment:chat", WINDOWS[quarter])
    traced = await trace_cost(worker, asked, cut_off=await draw_cut_off(worker, "trace"))
    return traced.estimates


@pytest.mark.parametrize("name", ["steady-mix", "lone-then-burst", "short-at-low-load"])
async def test_what_no_meter_says_is_estimated_within_what_its_weights_leave_open(
    worker: Connection, name: str
) -> None:
    run = simulate(SCENARIOS[name](), HOUR)
    books = await build(worker, run)
    await read(books, run, range(QUARTER + 1))
    # The counter began again while nobody read it.
    await read(books, run, range(3 * QUARTER + 300, HOUR + 1), epoch="boot-2")
    await allocate(worker, now=LATER)
    told = await metered(worker)
    assert told[0] == (true_mj(run, 0), 0, QUARTER, [])
    for quarter in (1, 2, 3):
        of_meter, estimated, _, findings = told[quarter]
        (found,) = await estimates(worker, quarter)
        assert BY_WEIGHTS in findings
        assert found.low_mj < found.energy_mj < found.high_mj
        true = true_mj(run, quarter) - of_meter
        assert found.low_mj <= true <= found.high_mj
        assert found.energy_mj == pytest.approx(true, rel=0.03)
        assert estimated >= found.energy_mj


async def test_an_estimate_is_flagged_conserved_and_no_gap(worker: Connection) -> None:
    run = simulate(varied(2), HOUR)
    books = await build(worker, run)
    await read(books, run, range(QUARTER + 1))
    await allocate(worker, now=LATER)
    report = await margin(worker)
    kept = report.conservation
    assert (kept.energy_residual_mj, kept.cost_residual) == NOTHING
    assert kept.metered_mj == true_mj(run, 0)
    assert kept.estimated_mj == sum(estimated for _, estimated, _, _ in await metered(worker))
    true = sum(true_mj(run, quarter) for quarter in (1, 2, 3))
    assert kept.estimated_mj == pytest.approx(true, rel=0.03)
    assert sum(row.estimated_mj for row in report.rows) > 0
    assert (await allocate(worker, now=LATER)).rows_written == 0


@pytest.mark.parametrize("name", ["steady-mix", "lone-then-burst"])
async def test_steps_that_engines_counted_leave_less_open(worker: Connection, name: str) -> None:
    run = simulate(SCENARIOS[name](), HOUR)
    books = await build(worker, run)
    scraped = range(0, HOUR + 1, 15)
    counted = zip(scraped, run.counted(scraped), strict=True)
    values = [(START + timedelta(seconds=s), "steps", steps) for s, steps in counted]
    await books.counters("chat", values)
    await read(books, run, range(QUARTER + 1))
    await allocate(worker, now=LATER)
    for quarter in (1, 2, 3):
        (estimate,) = await estimates(worker, quarter)
        true = true_mj(run, quarter)
        assert estimate.low_mj <= true <= estimate.high_mj
        assert estimate.energy_mj == pytest.approx(true, rel=0.005)
        assert estimate.high_mj - estimate.low_mj < true // 40


@pytest.mark.parametrize("unread", ["left_out", None])
async def test_without_weights_that_estimate_it_stays_a_gap(
    worker: Connection, unread: str | None
) -> None:
    run = simulate(varied(2), HOUR)
    books = await build(worker, run, unread=unread)
    await read(books, run, range(QUARTER + 1))
    await allocate(worker, now=LATER)
    assert [estimated for _, estimated, _, _ in await metered(worker)] == [0]
    with pytest.raises(MissingInputError, match=r"energy of GPU GPU-a .* from 2026-03-02T10:15Z"):
        await margin(worker)


async def test_a_fit_that_proves_little_estimates_nothing(
    worker: Connection, superuser: Connection
) -> None:
    run = simulate(varied(2), HOUR)
    books = await build(worker, run)
    await superuser.execute(
        """UPDATE weight_set SET evidence = evidence || '{"holdout_error_percent": "5.1"}'"""
    )
    await read(books, run, range(QUARTER + 1))
    await allocate(worker, now=LATER)
    assert len(await metered(worker)) == 1


async def test_a_frozen_meter_is_estimated_and_what_it_proves_is_the_least(
    worker: Connection,
) -> None:
    run = simulate(varied(2), HOUR)
    books = await build(worker, run)
    seconds = range(0, HOUR + 1, 5)
    counter = run.readings(seconds)
    frozen = counter[60]
    shown = [frozen if 300 <= s < 2_400 else mj for s, mj in zip(seconds, counter, strict=True)]
    times = [START + timedelta(seconds=s) for s in seconds]
    # It begins to count again where it stood.
    lost = counter[480] - frozen
    late = [mj - lost if s >= 2_400 else mj for s, mj in zip(seconds, shown, strict=True)]
    await books.readings("GPU-a", list(zip(times, late, strict=True)), power_mw=400_000)
    await allocate(worker, now=LATER)
    for quarter, (of_meter, estimated, _, findings) in enumerate(await metered(worker)):
        assert of_meter + estimated == pytest.approx(true_mj(run, quarter), rel=0.03)
        assert (BY_WEIGHTS in findings) == (quarter < 3)


async def test_what_may_still_come_is_not_estimated_yet(worker: Connection) -> None:
    """A quarter hour settles a quarter hour after its end, by what the house received since."""
    run = simulate(varied(2), HOUR)
    books = await build(worker, run, without=slice(None))
    half = len(run.served) // 2
    settled = WINDOWS[1] + timedelta(minutes=30)
    await send(worker, run, at=slice(half), now=settled - timedelta(seconds=1))
    await read(books, run, range(QUARTER + 1))
    await allocate(worker, now=settled)
    assert len(await metered(worker)) == 1
    await send(worker, run, at=slice(half, half + 1), now=settled)
    await allocate(worker, now=settled)
    assert [covered_s for _, _, covered_s, _ in await metered(worker)] == [QUARTER, 0]


@pytest.fixture
async def other(server: EmbeddedServer, roomy: str) -> AsyncIterator[Connection]:
    """Books of the same factory, which hear from the start what the others hear late or never."""
    with fresh_database(server, roomy) as fresh:
        connection = await connect(fresh.worker_url)
        yield connection
        await connection.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_readings_that_come_take_the_place_of_estimates_in_any_order(
    worker: Connection, other: Connection, seed: int
) -> None:
    chance = random.Random(seed)
    run = simulate(any_load(seed), HOUR)
    books, at_once = await build(worker, run), await build(other, run)
    await read(at_once, run, range(0, HOUR + 1, 5))
    await allocate(other, now=LATER)
    parts = [range(since, since + 300, 5) for since in range(0, HOUR, 300)]
    chance.shuffle(parts)
    for seconds in [*parts, range(HOUR, HOUR + 1)]:
        await read(books, run, seconds)
        await allocate(worker, now=LATER)
        kept = (await margin(worker)).conservation
        assert (kept.energy_residual_mj, kept.cost_residual) == NOTHING
    assert await metered(worker) == await metered(other)
    assert (await lines(worker)).equals(await lines(other))


async def test_work_that_comes_late_moves_what_is_estimated_of_its_meter(
    worker: Connection, other: Connection
) -> None:
    run = simulate(varied(2), HOUR)
    late = slice(len(run.served) // 2, len(run.served) // 2 + 20)
    books, at_once = await build(worker, run, without=late), await build(other, run)
    for each in (books, at_once):
        await read(each, run, range(QUARTER + 1))
    await allocate(other, now=LATER)
    await allocate(worker, now=LATER)
    before = await metered(worker)
    await send(worker, run, at=late)
    await allocate(worker, now=LATER)
    assert before != await metered(worker) == await metered(other)
    assert (await lines(worker)).equals(await lines(other))
    kept = (await margin(worker)).conservation
    assert (kept.energy_residual_mj, kept.cost_residual) == NOTHING


async def test_lines_of_estimates_are_made_again_as_they_were(worker: Connection) -> None:
    run = simulate(varied(2), HOUR)
    books = await build(worker, run)
    await read(books, run, range(QUARTER + 1))
    await allocate(worker, now=LATER)
    estimated, first = await lines(worker), await draw_cut_off(worker, "test")
    await read(books, run, range(QUARTER + 10, 2 * QUARTER + 1, 10))
    await allocate(worker, now=LATER + DAY)
    standing = await lines(worker)
    await book_cost(worker, now=LATER + DAY)
    await thin(worker, now=LATER + DAY)
    assert await worker.fetchval("SELECT count(*) FROM cost_share") == 0
    whole = [Period(START, END)]
    await recall_lines(worker, "factory", whole)
    assert (await lines(worker)).equals(standing)
    assert not standing.equals(estimated)
    # As it stood before readings came.
    await recall_lines(worker, "factory", whole, first.batch_seq)
    found = await worker.fetchval(
        "SELECT sum(device_estimated_mj) FROM cost_lines_at($1)", first.batch_seq
    )
    assert found == estimated["device_estimated_mj"].sum()
    assert (await check_books(worker)).differing == 0


async def test_of_engines_with_boards_of_their_own_the_silent_one_is_estimated(
    worker: Connection,
) -> None:
    run, rest = simulate(varied(2), HOUR), simulate([], HOUR)
    books = await build(worker, run, boards={"chat": ["GPU-a"], "spare": ["GPU-b"]})
    await read(books, rest, range(0, HOUR + 1, 5), gpu="GPU-b")
    await allocate(worker, now=LATER)
    rows = await worker.fetch(
        "SELECT gpu_uuid, sum(metered_mj) AS metered, sum(estimated_mj) AS estimated"
        " FROM meters_at(9000000000000000) GROUP BY 1 ORDER BY 1"
    )
    silent, spare = rows
    true = sum(true_mj(run, quarter) for quarter in range(4))
    assert silent["metered"] == spare["estimated"] == 0
    assert silent["estimated"] == pytest.approx(true, rel=0.03)
    assert spare["metered"] == sum(true_mj(rest, quarter) for quarter in range(4))
