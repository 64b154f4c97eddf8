"""Where inputs changed for all of the time, which readings are new need not be asked."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as some

from ledger.domain.cost.due import Span, cover, windows_due
from ledger.domain.period import MICROSECOND
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.cost_windows import cost_windows, find_meters
from ledger.flows.cost.find_due import find_due
from ledger.flows.stage import StageContext
from ledger.store import stage_runs
from ledger.store.connect import draw_cut_off
from ledger.store.cost import cost
from ledger.store.energy import meter
from ledger.store.queries import Connection
from tests.support.books import Books
from tests.support.one_gpu import LATER, START, at, steady

DAYS = [datetime(2026, 8, 1, tzinfo=UTC) + timedelta(days=n) for n in range(8)]
ENDS = some.lists(some.integers(0, 7), unique=True, max_size=8).map(sorted)


def _spans(ends: list[int]) -> list[Span]:
    """From each other end to the next; without an end, where there is none left."""
    untils = [*ends[1::2], None]
    return [
        (DAYS[since], None if until is None else DAYS[until])
        for since, until in zip(ends[::2], untils, strict=False)
    ]


def _held(spans: list[Span]) -> set[int]:
    """Days of spans; the ninth stands for all that comes behind."""
    return {
        n
        for since, until in spans
        for n in range(9)
        if since <= DAYS[min(n, 7)] and (until is None or (n < 8 and DAYS[n] < until))
    }


@given(ENDS, ENDS)
def test_spans_cover_others_whose_every_day_they_have(
    some_ends: list[int], ends: list[int]
) -> None:
    spans, others = _spans(some_ends), _spans(ends)
    assert cover(spans, others) == (_held(others) <= _held(spans))


async def _costless(books: Books) -> None:
    """GPUs that cost nothing, so that readings alone say when anything was; one of them begins
    again."""
    await books.entity()
    await books.facility()
    await books.pue(START)
    await books.tariff([(START, at(30 * 3_600), "90")])
    await books.lease(START, gpu_count=2, all_in=False, rate="0")
    await books.deployment(START, gpus=["GPU-0"])
    await books.readings("GPU-0", steady(range(2_000, 6_001, 10), base_mj=10**9))
    await books.readings("GPU-1", steady(range(20_000, 24_001, 10), base_mj=10**9))
    await books.readings("GPU-1", steady(range(24_010, 26_001, 10)))


async def _due(worker: Connection) -> list[datetime]:
    (entity,) = await cost.list_cost_entities(worker, entity_id="factory")
    last = await stage_runs.find_last_run(worker, stage="allocate", entity_id="factory")
    cut_off = await draw_cut_off(worker, "test")
    found = await find_due(StageContext(worker, entity, last, cut_off, LATER))
    return [*found.windows]


async def _told_anew(worker: Connection, windows: list[datetime]) -> list[object]:
    """What windows would tell, were they allocated."""
    (entity,) = await cost.list_cost_entities(worker, entity_id="factory")
    known = await find_meters(worker, (await draw_cut_off(worker, "test")).batch_seq)
    async with worker.transaction(isolation="repeatable_read"):
        costs, _ = await cost_windows(worker, entity, windows, known)
    spent = [pool for pool in costs.pools.values() if pool.amount]
    return [*costs.meters.items(), *spent, *costs.rows, *costs.taken]


async def _touched(worker: Connection) -> set[datetime]:
    """Windows that readings lie in, or between, of each board."""
    batch_seq = (await draw_cut_off(worker, "test")).batch_seq
    read = await meter.find_touched_readings(worker, since_seq=0, batch_seq=batch_seq)
    spans = [(first, last + MICROSECOND) for _, first, last in read]
    return set(windows_due(spans, within=[(START, None)], now=LATER))


async def test_at_first_nothing_is_told_that_asking_which_readings_are_new_would_add(
    worker: Connection,
) -> None:
    await _costless(Books(worker))
    beyond = await _touched(worker) - set(await _due(worker))
    assert beyond
    await allocate(worker, now=LATER)
    assert not await _told_anew(worker, sorted(beyond))


async def test_later_new_readings_are_asked_for(worker: Connection) -> None:
    books = Books(worker)
    await _costless(books)
    await allocate(worker, now=LATER)
    await books.readings("GPU-0", steady(range(6_010, 7_001, 10), base_mj=10**9))
    assert at(6_300) in await _due(worker)
