"""What a stage cannot do for one entity is parked with its reason, and stops nobody else's."""

from datetime import timedelta
from typing import Any

import pytest

from ledger.domain.errors import MissingInputError
from ledger.domain.parked import LONGEST_PAUSE
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.settle import settle
from ledger.flows.stages import STAGES
from ledger.reports.cost.margin import margin_report
from ledger.reports.metering.status import read_status
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from ledger.store.standing import list_parked
from tests.flows.billing import AUTHOR, WINDOW, subscribed
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import GPU, LATER, QUARTER, START, one_gpu, steady
from tests.support.poison import POISONS, open_walls, poison, poison_price

BAD = Buyer(customer_id="worse", customer_ref="worse", entity_id="bad", model="bad-llama")


async def good_and_bad(books: Books, kind: str) -> None:
    """An hour of a good factory and of a bad one, each with its GPU and its work."""
    await one_gpu(books)
    await books.entity("bad")
    await books.customer("worse", "bad")
    await books.facility("site-bad", "bad")
    await poison(books, kind, START, START + timedelta(hours=1))
    await books.deployment(
        START,
        deployment_id="bad-chat",
        asset_id="rack-bad",
        model="bad-llama",
        gpus=["GPU-bad"],
        entity_id="bad",
    )
    for gpu in (GPU, "GPU-bad"):
        await books.readings(gpu, steady(range(0, 3601, 10)))
    for n in range(4):
        await books.usage(START + n * QUARTER, Tokens(uncached=100, output=10))
        await books.usage(START + n * QUARTER, Tokens(uncached=100, output=10), buyer=BAD)


async def costs_of(connection: Connection, entity_id: str) -> list[dict[str, Any]]:
    rows = await connection.fetch(
        """SELECT scope, window_start, line, device_metered_mj, device_cost, overhead_cost, gpu_cost
             FROM cost_allocation WHERE entity_id = $1 ORDER BY 1, 2, 3""",
        entity_id,
    )
    return [dict(row) for row in rows]


async def booked_for(connection: Connection, entity_id: str) -> int:
    found = await connection.fetchval(
        "SELECT count(*) FROM journal_entry WHERE entity_id = $1", entity_id
    )
    return int(found)


@pytest.mark.parametrize("kind", POISONS)
async def test_a_poisoned_entity_stops_nobody_and_says_why(
    owner: Connection, worker: Connection, kind: str
) -> None:
    await open_walls(owner)
    books = Books(worker)
    await good_and_bad(books, kind)
    done = await settle(worker, now=LATER)
    assert len(await costs_of(worker, "factory")) == 4
    assert await booked_for(worker, "factory") == 1
    parked = done[0].parked
    assert {(one.stage, one.entity_id) for one in parked} == {("allocate", "bad")}
    assert all(one.failures == 1 and one.what.reason for one in parked)
    cut_off = await draw_cut_off(worker, "status")
    status = await read_status(worker, stages=STAGES, cut_off=cut_off, now=LATER)
    assert [row.entity_id for row in status.parked] == ["bad"] * len(parked)
    succeeded = {(row.work, row.entity_id) for row in status.work if row.succeeded_at}
    assert ("allocate", "factory") in succeeded
    assert ("allocate", "bad") not in succeeded
    assert ("rate", "bad") in succeeded


async def test_it_is_tried_again_after_growing_pauses_and_not_before(
    owner: Connection, worker: Connection
) -> None:
    await open_walls(owner)
    await good_and_bad(Books(worker), "power")
    await settle(worker, now=LATER)
    (one,) = {(p.failures, p.next_try_at) for p in await list_parked(worker)}
    assert one == (1, LATER + timedelta(minutes=1))
    early = await settle(worker, now=LATER + timedelta(seconds=59))
    assert early[0].failed == ()
    assert len(early[0].parked) == len(await list_parked(worker))
    at = LATER
    for failures in range(2, 10):
        at += LONGEST_PAUSE
        await settle(worker, now=at)
        found = {p.failures for p in await list_parked(worker) if p.what.until <= LATER}  # type: ignore[operator]
        assert found == {failures}


async def test_what_is_put_right_is_done_and_leaves_nothing_parked(
    owner: Connection, worker: Connection
) -> None:
    await open_walls(owner)
    books = Books(worker)
    await good_and_bad(books, "power")
    now = START + timedelta(hours=1)
    await settle(worker, now=now)
    assert await list_parked(worker)
    await books.close("tariff_price", "facility_id = 'site-bad'")
    await books.tariff([(START, now, "100")], tariff_id="bad-power", facility_id="site-bad")
    done = await settle(worker, now=now)
    assert done[0].parked == ()
    assert await list_parked(worker) == []
    assert len(await costs_of(worker, "bad")) == 4
    assert await booked_for(worker, "bad") == 1


async def test_only_the_windows_that_fail_are_parked(owner: Connection, worker: Connection) -> None:
    await open_walls(owner)
    books = Books(worker)
    await good_and_bad(books, "none")
    await books.close("tariff_price", "facility_id = 'site-bad'")
    second = START + QUARTER
    await books.tariff(
        [
            (START, second, "100"),
            (second, second + QUARTER, "1" + "0" * 100 + "1"),
            (second + QUARTER, START + 4 * QUARTER, "100"),
        ],
        tariff_id="bad-power",
        facility_id="site-bad",
    )
    await settle(worker, now=START + timedelta(hours=1))
    (one,) = await list_parked(worker)
    assert (one.what.since, one.what.until) == (second, second + QUARTER)
    assert {row["window_start"] for row in await costs_of(worker, "bad")} == {
        START + n * QUARTER for n in (0, 2, 3)
    }


async def test_a_price_nobody_can_multiply_parks_one_customer(
    owner: Connection, worker: Connection
) -> None:
    await open_walls(owner)
    books = await subscribed(worker)
    await subscribed(worker, customer_id="beta", prices=("5",), meters=("input",))
    await poison_price(worker, "card-beta", WINDOW)
    beta = Buyer(customer_id="beta", customer_ref="beta")
    for buyer in (Buyer(), beta):
        await books.usage(WINDOW, Tokens(uncached=10, output=12_345), buyer=buyer)
    done = await settle(worker, now=LATER)
    assert [(one.stage, one.what.subject) for one in done[1].parked] == [("rate", "beta")]
    charged = await worker.fetch("SELECT DISTINCT customer_id FROM charge")
    assert [row[0] for row in charged] == ["acme"]


async def test_a_stage_that_cannot_even_look_parks_the_entity(
    owner: Connection, worker: Connection
) -> None:
    books = Books(worker)
    await good_and_bad(books, "none")
    # A policy that fails for one entity stands for whatever keeps a stage from looking.
    await owner.execute("ALTER TABLE usage_delta RENAME TO stored_delta")
    await owner.execute(
        """CREATE VIEW usage_delta AS SELECT d.* FROM stored_delta d
            WHERE 1 / (d.customer_id IS DISTINCT FROM 'worse')::int = 1"""
    )
    await owner.execute("GRANT SELECT ON usage_delta TO tokenledger_worker")
    await worker.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
    done = await settle(worker, now=LATER)
    assert [run.stage for run in done] == [*STAGES]
    (one,) = [p for p in done[1].parked if p.entity_id == "bad"]
    assert one.what.identity == ("", None, None)
    assert "division by zero" in one.what.reason
    again = await settle(worker, now=LATER + timedelta(seconds=1))
    assert [p.failures for p in again[1].parked if p.entity_id == "bad"] == [1]
    await owner.execute("DROP VIEW usage_delta")
    await owner.execute("ALTER TABLE stored_delta RENAME TO usage_delta")
    done = await settle(worker, now=LATER + timedelta(minutes=2))
    assert done[1].parked == ()
    assert await list_parked(worker) == []


async def test_what_passes_by_itself_ends_the_run_and_parks_nothing(
    owner: Connection, worker: Connection
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await worker.execute("SET lock_timeout = '100ms'")
    async with owner.transaction():
        await owner.execute("LOCK TABLE cost_allocation")
        with pytest.raises(Exception, match="lock timeout"):
            await settle(worker, now=LATER)
    assert await list_parked(worker) == []
    await settle(worker, now=LATER)
    assert len(await costs_of(worker, "factory")) == 4


async def test_a_margin_with_parked_windows_says_so_and_is_never_too_good(
    owner: Connection, worker: Connection
) -> None:
    await open_walls(owner)
    books = Books(worker)
    await good_and_bad(books, "rate")
    await settle(worker, now=LATER)
    cut_off = await draw_cut_off(worker, "margin")
    asked: dict[str, Any] = {
        **{"entity_id": "bad", "since": START, "until": START + timedelta(hours=1)},
        "cut_off": cut_off,
    }
    with pytest.raises(MissingInputError, match="allocation"):
        await margin_report(worker, **asked)
    report = await margin_report(worker, **asked, without=("cost",))
    assert report.missing is not None
    assert [row.requests for row in report.rows] == [4]


async def test_no_invoice_leaves_out_usage_that_could_not_be_rated(
    owner: Connection, worker: Connection
) -> None:
    await open_walls(owner)
    books = await subscribed(worker)
    await books.usage(WINDOW, Tokens(uncached=10, output=12_345))
    await books.close("rate_card_price", "meter = 'output_visible'")
    await poison_price(worker, "card-acme", WINDOW)
    with pytest.raises(MissingInputError, match="could not be rated"):
        await issue_invoice(
            worker, subscription_id="sub-acme", moment=WINDOW, now=LATER, author=AUTHOR
        )
