"""What a preview of a change says, whom it holds up, and that nothing of it can be stored."""

from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from ledger.domain.author import Author
from ledger.domain.errors import InvalidInputError, NotFoundError, UnavailableError
from ledger.flows.check_seals import check_seals
from ledger.flows.preview import BOOKING, Change, Preview, preview_change
from ledger.flows.reference.enter import enter_price
from ledger.flows.seal import seal
from ledger.flows.settle import settle
from ledger.flows.stages import STAGES
from ledger.store.books.preview import previewing
from ledger.store.connect import connect, draw_batch_seq, draw_cut_off
from ledger.store.queries import Connection
from ledger.store.stage_runs import running
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import AUTHOR, WINDOW
from tests.flows.test_close import LATER, MILLION, closed, with_november
from tests.flows.test_closed_months import NOBODY_SAYS
from tests.support.database import Database


def priced(amount: str, since: str = "2023-11-16T00:00:00Z", **more: Any) -> Change:
    said = {"rate_card_id": "card-acme", "meter": "input", "amount": amount, "valid_from": since}
    new = read_input(NewPrice, said | more)

    async def enter(connection: Connection, author: Author) -> object:
        return await enter_price(connection, new, author, replace=True)

    return enter


async def previewed(worker: Connection, change: Change, author: Author = AUTHOR) -> Preview:
    return await preview_change(worker, change, author, now=LATER)


async def digests(connection: Connection) -> dict[str, Any]:
    """What every table holds, row by row."""
    names = await connection.fetch(
        """SELECT c.oid::regclass::text AS name FROM pg_class c
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
              AND NOT c.relispartition ORDER BY 1"""
    )
    return {
        name: await connection.fetchval(
            f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t"
        )
        for (name,) in names
    }


async def test_a_dearer_price_shows_what_is_booked_what_would_be_and_the_difference(
    worker: Connection, superuser: Connection
) -> None:
    await with_november(worker)
    before = await digests(superuser)
    seen = await previewed(worker, priced("7"))
    assert await digests(superuser) == before
    assert [
        (each.month, each.booked_in, each.account, each.before, each.after)
        for each in seen.accounts
    ] == [
        ("2023-11", "2023-11", "1150", Decimal(5), Decimal(7)),
        ("2023-11", "2023-11", "4000", Decimal(-5), Decimal(-7)),
    ]
    (charge,) = seen.charges
    assert (charge.customer_id, charge.before, charge.difference) == (
        "acme",
        Decimal(5),
        Decimal(2),
    )
    assert (seen.costs, seen.needs_reason, seen.undone) == ([], None, [])


async def test_what_is_due_anyway_is_no_part_of_the_difference(worker: Connection) -> None:
    books = await with_november(worker)
    await books.usage(WINDOW, MILLION)
    (charge,) = (await previewed(worker, priced("7"))).charges
    assert (charge.before, charge.difference) == (Decimal(10), Decimal(4))
    assert (await previewed(worker, priced("5"))).charges == []
    assert await worker.fetchval("SELECT sum(amount) FROM charge") == 5


async def test_what_would_be_refused_is_refused_alike(worker: Connection) -> None:
    await with_november(worker)
    change = priced("7", rate_card_id="none")
    with pytest.raises(NotFoundError) as refused:
        await change(worker, AUTHOR)
    with pytest.raises(NotFoundError) as seen:
        await previewed(worker, change)
    assert str(seen.value) == str(refused.value)


async def test_of_a_closed_month_it_says_that_a_reason_will_be_needed_and_where_it_is_booked(
    worker: Connection,
) -> None:
    await with_november(worker)
    await closed(worker, "2023-11")
    seen = await previewed(worker, priced("7"), NOBODY_SAYS)
    assert seen.needs_reason is not None
    with pytest.raises(InvalidInputError, match=seen.needs_reason):
        await priced("7")(worker, NOBODY_SAYS)
    assert {(each.month, each.booked_in) for each in seen.accounts} == {("2023-11", "2023-12")}
    assert (await previewed(worker, priced("7"))).needs_reason is None


async def test_a_preview_cannot_be_committed(worker: Connection) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="a preview stores nothing"):
        async with worker.transaction():
            await worker.execute("SELECT begin_preview()")
    # What it was told ended with it.
    async with worker.transaction():
        assert not await worker.fetchval("SELECT is_preview()")


async def test_while_it_goes_on_others_store_and_their_cut_offs_see_it(
    worker: Connection, database: Database
) -> None:
    books = await with_november(worker)
    other = await connect(database.worker_url)
    try:
        async with previewing(other):
            own = await draw_batch_seq(other)
            stored = await books.usage(WINDOW, MILLION)
            cut_off = await draw_cut_off(worker, "test")
            assert own < stored <= cut_off.batch_seq
            await settle(worker, now=LATER)
    finally:
        await other.close()
    assert await worker.fetchval("SELECT sum(amount) FROM charge") == 10


async def test_one_that_waits_too_long_for_a_stage_says_so_and_leaves_the_others_alone(
    worker: Connection, database: Database
) -> None:
    await with_november(worker)
    other = await connect(database.worker_url)
    try:
        async with running(other, "book_revenue"):
            with pytest.raises(UnavailableError, match="The stage book_revenue runs all the while"):
                await preview_change(worker, priced("7"), AUTHOR, now=LATER, wait_s=0.1)
        for name in BOOKING:
            assert (await STAGES[name].load()(other, now=LATER)).failed == ()
    finally:
        await other.close()


@pytest.mark.parametrize("times", [1, 9])
async def test_one_that_others_enter_the_same_beside_begins_again_a_few_times(
    worker: Connection, database: Database, times: int
) -> None:
    await with_november(worker)
    other = await connect(database.worker_url)
    calls = 0

    async def beside(connection: Connection, author: Author) -> object:
        nonlocal calls
        calls += 1
        # Each try enters it twice, and the second time in the snapshot that the stages saw.
        if calls % 2 == 0 and calls // 2 <= times:
            await connection.fetchval("SELECT count(*) FROM rate_card_price")
            await priced(f"{calls}")(other, AUTHOR)
        return await priced("7")(connection, author)

    try:
        if times == 1:
            assert (await previewed(worker, beside)).charges[0].after == 7
        else:
            with pytest.raises(UnavailableError, match="Others enter what the preview is of"):
                await previewed(worker, beside)
    finally:
        await other.close()


async def test_numbers_that_no_row_has_hurt_nothing_that_comes_later(worker: Connection) -> None:
    books = await with_november(worker)
    await seal(worker)
    for amount in ("7", "8"):
        await previewed(worker, priced(amount))
    await books.usage(WINDOW, MILLION)
    await priced("6")(worker, AUTHOR)
    await settle(worker, now=LATER)
    await seal(worker)
    assert await worker.fetchval("SELECT sum(amount) FROM charge") == 12
    assert (await check_seals([worker])).differences == []
