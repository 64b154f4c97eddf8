"""A house from which nothing comes any more is estimated once it has been silent for long enough,
and that it was silent is a fact of the stored order."""

from datetime import datetime, timedelta
from operator import attrgetter

import pytest

from ledger.domain.author import Author
from ledger.domain.energy.span import BY_WEIGHTS
from ledger.domain.period import DAY, Period
from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.check_books import check_books
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.recall import recall_lines
from ledger.flows.cost.thin import thin
from ledger.flows.preview import preview_change
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from tests.flows.billing import AUTHOR
from tests.flows.test_check_weights import enter_fitted
from tests.flows.test_true_cost import END, START
from tests.flows.test_unread import (
    NOTHING,
    QUARTER,
    build,
    estimates,
    lines,
    margin,
    metered,
    other,
    read,
    send,
    true_mj,
)
from tests.support.batching import Run, simulate
from tests.support.books import Books
from tests.support.loads import HOUR, SCENARIOS, any_load, varied

__all__ = ["other"]

# The last word comes in the middle of the second quarter hour.
HEARD_S = QUARTER + 420
HEARD = START + timedelta(seconds=HEARD_S)
WAIT = timedelta(minutes=15)
SETTLED = END + WAIT


def told(run: Run) -> slice:
    """The requests that had ended by the last word."""
    run.served.sort(key=attrgetter("ended"))
    return slice(sum(one.ended < HEARD_S for one in run.served))


async def fallen_silent(worker: Connection, run: Run, *, unread: str | None = "estimated") -> Books:
    """An hour of which all that was known by the last word was received then, and nothing since."""
    books = await build(worker, run, unread=unread, without=slice(None))
    await send(worker, run, at=told(run), now=HEARD)
    await read(books, run, range(HEARD_S))
    return books


async def silences(worker: Connection) -> list[datetime]:
    rows = await worker.fetch(
        "SELECT received_at FROM receipt WHERE received = 0 ORDER BY batch_seq"
    )
    return [row["received_at"] for row in rows]


async def estimated_mj(worker: Connection) -> list[int]:
    return [mj for _, mj, _, findings in await metered(worker) if BY_WEIGHTS in findings]


async def test_silence_is_kept_once_nothing_came_for_as_long_as_it_may_take(
    worker: Connection,
) -> None:
    await fallen_silent(worker, simulate(varied(2), HOUR))
    await allocate(worker, now=HEARD + WAIT - timedelta(seconds=1))
    assert await silences(worker) == []
    await allocate(worker, now=HEARD + WAIT)
    # A quarter hour after the end of the second one is still to come.
    assert await silences(worker) == [HEARD + WAIT]
    assert await estimated_mj(worker) == []
    for minutes in range(1, 16):
        await allocate(worker, now=HEARD + WAIT + timedelta(minutes=minutes))
    assert await silences(worker) == [HEARD + WAIT, HEARD + 2 * WAIT]
    assert len(await estimated_mj(worker)) == 1


async def test_a_silent_house_is_estimated_within_what_its_weights_leave_open(
    worker: Connection,
) -> None:
    run = simulate(SCENARIOS["steady-mix"](), HOUR)
    await fallen_silent(worker, run)
    await send(worker, run, at=slice(told(run).stop, None), now=END)
    await allocate(worker, now=SETTLED - timedelta(seconds=1))
    assert len(await estimated_mj(worker)) == 2
    await allocate(worker, now=SETTLED)
    assert len(await estimated_mj(worker)) == 3
    for quarter in (2, 3):
        (found,) = await estimates(worker, quarter)
        assert found.low_mj <= true_mj(run, quarter) <= found.high_mj
        assert found.energy_mj == pytest.approx(true_mj(run, quarter), rel=0.03)
    kept = (await margin(worker)).conservation
    assert (kept.energy_residual_mj, kept.cost_residual) == NOTHING
    assert (await allocate(worker, now=SETTLED)).rows_written == 0


async def test_of_a_house_that_says_nothing_at_all_boards_are_taken_to_rest(
    worker: Connection,
) -> None:
    await fallen_silent(worker, simulate(varied(2), HOUR))
    await allocate(worker, now=SETTLED)
    at_rest_mj = 440 * 1_000 * QUARTER
    assert (await estimated_mj(worker))[-1] == at_rest_mj
    assert (await margin(worker)).conservation.estimated_mj > at_rest_mj


@pytest.mark.parametrize("unread", ["left_out", None])
async def test_where_weights_estimate_nothing_silence_is_nobodys_matter(
    worker: Connection, unread: str | None
) -> None:
    await fallen_silent(worker, simulate(varied(2), HOUR), unread=unread)
    await allocate(worker, now=SETTLED)
    assert await silences(worker) == []


async def test_a_house_that_never_spoke_has_fallen_silent_of_nothing(worker: Connection) -> None:
    await build(worker, simulate([], HOUR))
    await allocate(worker, now=SETTLED)
    assert await silences(worker) == []


@pytest.mark.parametrize("seed", [1, 3])
async def test_what_comes_after_the_silence_makes_the_books_what_they_had_been_without_it(
    worker: Connection, other: Connection, seed: int
) -> None:
    run = simulate(any_load(seed), HOUR)
    silent, spoke = await fallen_silent(worker, run), await fallen_silent(other, run)
    since = slice(told(run).stop, None)
    for minutes in range(0, 75, 15):
        await allocate(worker, now=HEARD + WAIT + timedelta(minutes=minutes))
    estimated = await lines(worker)
    for each in (spoke, silent):
        await send(each.connection, run, at=since, now=SETTLED)
        await read(each, run, range(HEARD_S, HOUR + 1))
        await allocate(each.connection, now=SETTLED)
    assert await metered(worker) == await metered(other)
    assert (await lines(worker)).equals(await lines(other))
    assert not (await lines(worker)).equals(estimated)
    kept = (await margin(worker)).conservation
    assert (kept.energy_residual_mj, kept.cost_residual) == NOTHING


async def test_lines_of_a_silent_house_are_made_again_as_they_were(worker: Connection) -> None:
    run = simulate(varied(2), HOUR)
    books = await fallen_silent(worker, run)
    await allocate(worker, now=SETTLED)
    first = await draw_cut_off(worker, "test")
    said = "SELECT sum(device_estimated_mj) FROM cost_lines_at($1)"
    silent = await worker.fetchval(said, first.batch_seq)
    await read(books, run, range(HEARD_S, HOUR + 1))
    await allocate(worker, now=SETTLED + DAY)
    standing = await lines(worker)
    await book_cost(worker, now=SETTLED + DAY)
    await thin(worker, now=SETTLED + DAY)
    assert await worker.fetchval("SELECT count(*) FROM cost_share") == 0
    await recall_lines(worker, "factory", [Period(START, END)])
    assert (await lines(worker)).equals(standing)
    await recall_lines(worker, "factory", [Period(START, END)], first.batch_seq)
    assert await worker.fetchval(said, first.batch_seq) == silent > 0
    assert (await check_books(worker)).differing == 0


async def test_a_preview_of_weights_shows_what_they_say_of_the_silence_and_keeps_none(
    worker: Connection,
) -> None:
    await fallen_silent(worker, simulate(varied(2), HOUR), unread=None)

    async def enter(connection: Connection, _: Author) -> None:
        await enter_fitted(connection)

    moved = await preview_change(worker, enter, AUTHOR, now=SETTLED)
    assert await silences(worker) == []
    await enter_fitted(worker)
    await allocate(worker, now=SETTLED)
    assert await silences(worker) == [SETTLED]
    assert moved.costs
    assert moved.undone == []
