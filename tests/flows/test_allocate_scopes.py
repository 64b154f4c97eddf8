"""Every GPU and every attempt is in one scope: who served it pays for it, and the rest is idle."""

from datetime import timedelta
from decimal import Decimal

from ledger.flows.cost.allocate import allocate
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import (
    GPU,
    LATER,
    QUARTER,
    START,
    at,
    lines_of,
    meters_of,
    one_gpu,
    steady,
)


async def leased_rack(books: Books, *, gpus: int = 4) -> None:
    """GPUs at 4 EUR an hour each, all-in."""
    await books.entity()
    await books.customer()
    await books.facility()
    await books.lease(START, at(3600), gpu_count=gpus, rate="4")


async def test_gpus_nobody_deployed_are_idle_hardware_of_their_asset(worker: Connection) -> None:
    books = Books(worker)
    await leased_rack(books)
    await books.deployment(START, at(3600), gpu_count=3)
    await books.usage(START, Tokens(output=1))
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, START)
    assert lines["deployment:chat/usage"]["gpu_cost"] == 3
    assert lines["asset:rack/idle"]["gpu_cost"] == 1
    alone = await lines_of(worker, START + QUARTER)
    assert alone["deployment:chat/idle"]["gpu_cost"] == 3


async def test_asset_without_any_deployment_is_all_idle(worker: Connection) -> None:
    books = Books(worker)
    await leased_rack(books)
    report = await allocate(worker, now=LATER)
    assert report.windows == 4
    assert (await lines_of(worker, START))["asset:rack/idle"]["gpu_cost"] == 4


async def test_usage_goes_to_the_deployment_of_its_instance_else_of_its_model_and_tier(
    worker: Connection,
) -> None:
    books = Books(worker)
    await leased_rack(books)
    await books.deployment(START, at(3600), deployment_id="by-instance", instances=["vllm-0"])
    await books.deployment(START, at(3600), deployment_id="by-model")
    await books.deployment(START, at(3600), deployment_id="by-tier", tier="batch")
    await books.deployment(START, at(3600), deployment_id="other", model="other")
    await books.usage(START, Tokens(output=1), instance="vllm-0")
    await books.usage(START, Tokens(output=1), instance="unheard-of")
    await books.usage(START, Tokens(output=1), buyer=Buyer(tier="batch"))
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, START)
    assert sorted(key for key in lines if key.endswith("usage")) == [
        "deployment:by-instance/usage",
        "deployment:by-model/usage",
        "deployment:by-tier/usage",
    ]
    assert lines["deployment:other/idle"]["gpu_cost"] == 1


async def test_unknown_customers_usage_carries_its_share(worker: Connection) -> None:
    books = Books(worker)
    await leased_rack(books, gpus=1)
    stranger = Buyer(customer_id=None, customer_ref="walk-in", entity_id=None)
    await books.deployment(START, at(3600))
    await books.usages([(START, Tokens(output=3), Buyer()), (START, Tokens(output=1), stranger)])
    await allocate(worker, now=LATER)
    cost = await worker.fetchval(
        "SELECT gpu_cost FROM cost_lines_at(as_it_stands()) WHERE usage_key_id = $1",
        stranger.usage_key_id,
    )
    assert cost == Decimal("0.25")


async def test_masks_of_batches_merge_so_that_no_second_counts_twice(worker: Connection) -> None:
    books = Books(worker)
    await leased_rack(books, gpus=1)
    await books.deployment(START, at(3600))
    await books.usage(START, Tokens(output=1), busy=range(300))
    await books.usage(START, Tokens(output=1), busy=range(150, 450))
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, START)
    assert lines["deployment:chat/usage"]["busy_s"] == 450
    assert lines["deployment:chat/idle"]["gpu_cost"] == Decimal("0.5")


async def test_no_window_of_the_future_is_allocated_and_the_open_one_is(worker: Connection) -> None:
    books = Books(worker)
    await leased_rack(books)
    assert (await allocate(worker, now=at(1000))).windows == 2
    # The window that was open holds what it held: only the one that has begun since is due.
    assert (await allocate(worker, now=at(1900))).windows == 1
    assert await worker.fetchval("SELECT count(DISTINCT window_start) FROM cost_allocation") == 3


async def test_changed_rate_revises_cost_and_keeps_what_was_said_before(worker: Connection) -> None:
    books = Books(worker)
    await leased_rack(books)
    await allocate(worker, now=LATER)
    await books.close("asset", "asset_id = 'rack'")
    await books.lease(START, at(3600), gpu_count=4, rate="6")
    assert (await allocate(worker, now=LATER)).rows_written == 8
    rows = await worker.fetch(
        """SELECT revision, gpu_cost FROM cost_allocation
            WHERE window_start = $1 ORDER BY revision""",
        START,
    )
    assert [tuple(row) for row in rows] == [(1, 4), (2, 6)]


async def test_asset_that_ceased_to_be_known_gets_a_revision_of_nothing(worker: Connection) -> None:
    books = Books(worker)
    await leased_rack(books)
    await allocate(worker, now=LATER)
    await books.close("asset", "asset_id = 'rack'")
    await allocate(worker, now=LATER)
    assert await lines_of(worker, START) == {}
    rows = await worker.fetch(
        "SELECT revision, lines FROM cost_allocation WHERE window_start = $1 ORDER BY 1", START
    )
    assert [tuple(row) for row in rows] == [(1, 1), (2, 0)]
    assert (await allocate(worker, now=LATER)).rows_written == 0


async def test_tariff_entered_later_prices_energy_already_allocated(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.pue(START, at(3600), pue="1")
    await books.lease(START, at(3600), rate="0", all_in=False)
    await books.deployment(START, at(3600), gpus=[GPU])
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await allocate(worker, now=LATER)
    idle = (await lines_of(worker, START))["deployment:chat/idle"]
    assert (idle["device_metered_mj"], idle["device_cost"]) == (900 * 400_000, 0)
    await books.tariff([(START, at(3600), "100")])
    await allocate(worker, now=LATER)
    assert (await lines_of(worker, START))["deployment:chat/idle"]["device_cost"] == Decimal("0.01")


async def test_two_entities_are_allocated_apart(worker: Connection) -> None:
    books = Books(worker)
    await leased_rack(books)
    await books.entity("second", currency="USD")
    await books.facility("site-2", "second")
    await books.lease(
        START,
        at(1800),
        asset_id="rack-2",
        currency="USD",
        entity_id="second",
        facility_id="site-2",
    )
    assert (await allocate(worker, entity_id="second", now=LATER)).windows == 2
    found = await worker.fetch("SELECT DISTINCT currency FROM cost_allocation")
    assert [row["currency"] for row in found] == ["USD"]
    assert (await allocate(worker, now=LATER)).windows == 4


async def test_chunks_and_progress_do_not_change_the_result(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, START + timedelta(days=3), rate="4")
    told: list[tuple[int, int]] = []
    later = START + timedelta(days=9)
    await allocate(worker, now=later, progress=lambda done, of: told.append((done, of)))
    assert told == [(96, 288), (192, 288), (288, 288)]
    spent = "SELECT sum(gpu_cost) FROM cost_lines_at(as_it_stands())"
    assert await worker.fetchval(spent) == 4 * 24 * 3


async def test_owned_gpu_costs_its_schedule_and_meters_are_stored(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await allocate(worker, now=LATER)
    assert len(await meters_of(worker)) == 4
    assert (await lines_of(worker, START))["deployment:chat/idle"]["gpu_terms"] == "owned"


async def test_a_gpu_that_moves_to_another_entity_keeps_what_it_metered_before(
    worker: Connection,
) -> None:
    books = Books(worker)
    half = at(1800)
    served = {"chat": ("factory", START, half), "later": ("other", half, at(3600))}
    for name, (owner, since, until) in served.items():
        await books.entity(owner)
        await books.facility(f"site-{owner}", owner)
        await books.lease(
            START, at(3600), asset_id=name, entity_id=owner, facility_id=f"site-{owner}"
        )
        await books.deployment(
            since, until, deployment_id=name, asset_id=name, gpus=[GPU], entity_id=owner
        )
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await allocate(worker, now=LATER)
    assert [(each["revision"], each["metered_mj"]) for each in await meters_of(worker)] == [
        (1, 900 * 400_000)
    ] * 4
    # The new owner computes the old windows again, which are not its own.
    await books.close("asset", "asset_id = 'later'")
    await books.lease(
        START, at(3600), asset_id="later", entity_id="other", facility_id="site-other", rate="3"
    )
    await allocate(worker, now=LATER)
    assert {each["revision"] for each in await meters_of(worker)} == {1}
