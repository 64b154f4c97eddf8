"""Several deployments on one GPU: each has its part, and what none has is the asset's idle."""

import random
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.flows.cost.allocate import allocate
from ledger.flows.reference.enter import enter_asset, enter_deployment
from ledger.reports.cost.calibration import CALIBRATION
from ledger.reports.cost.evidence import AskedCost, trace_cost
from ledger.reports.cost.producers import producers_report
from ledger.reports.metering.coverage import coverage_report
from ledger.reports.report import Asked, ReportScope
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.factory_inputs import NewAsset, NewDeployment
from ledger.wire.inputs import read_input
from tests.flows.slow_facts import ASSET, AUTHOR, day, enter_site
from tests.flows.test_allocate_conservation import RESIDUALS, random_readings
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import GPU, LATER, QUARTER, START, at, lines_of, meters_of, steady

END = START + timedelta(hours=2)


def deployment(name: str, **changes: Any) -> NewDeployment:
    base = {"deployment_id": name, "asset_id": "rack", "model": name, "gpu_uuids": ["GPU-1"]}
    return read_input(NewDeployment, base | {"valid_from": day(0)} | changes)


def parts_of(share: str) -> int:
    return int(Fraction(share) * 7_000_000)


async def shared_gpu(books: Books, shares: dict[str, str], *, hours: int = 1, **split: Any) -> None:
    """A GPU at 4 EUR an hour and 100 EUR a MWh, that deployments have these shares of."""
    end = START + timedelta(hours=hours)
    await books.entity()
    await books.customer()
    await books.facility()
    await books.pue(START, end, pue="1", host_mw_per_gpu=50_000)
    await books.tariff([(START, end, "100")])
    await books.lease(START, end, rate="4", all_in=False)
    for name, share in shares.items():
        await books.deployment(
            *(START, end),
            deployment_id=name,
            model=name,
            gpus=[GPU],
            instances=[name],
            gpu_parts=parts_of(share),
            **split,
        )
    await books.readings(GPU, steady(range(0, hours * 3600 + 1, 10)))


async def test_each_has_its_share_of_energy_and_cost_and_the_rest_is_idle_of_the_asset(
    worker: Connection,
) -> None:
    books = Books(worker)
    await shared_gpu(books, {"chat": "0.5", "tts": "0.3"})
    await books.usage(START, Tokens(output=1), instance="chat", busy=range(900))
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, START)
    assert {
        name: (line["device_metered_mj"], line["host_mj"], line["gpu_cost"])
        for name, line in lines.items()
    } == {
        "deployment:chat/usage": (180_000_000, 22_500_000, Decimal("0.5")),
        "deployment:tts/idle": (108_000_000, 13_500_000, Decimal("0.3")),
        "asset:rack/idle": (72_000_000, 9_000_000, Decimal("0.2")),
    }
    assert [row["metered_mj"] for row in await meters_of(worker)] == [360_000_000] * 4
    found = await worker.fetchrow(RESIDUALS)
    assert found is not None
    assert (found["metered"], found["estimated"], found["cost"]) == (0, 0, 0)


async def test_by_busy_time_who_runs_pays_and_rest_goes_by_share(worker: Connection) -> None:
    """Both run for a third of the quarter hour, one of them for another third, and then nobody."""
    books = Books(worker)
    shares = {"chat": "0.5", "tts": "0.25"}
    await shared_gpu(books, shares, gpu_split="busy_time", idle_mw_per_gpu=100_000)
    await books.usage(START, Tokens(output=1), instance="chat", busy=range(600))
    await books.usage(START, Tokens(output=1), instance="tts", busy=range(300))
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, START)
    # 400 W all along: by halves, then chat's, with what the first slot at rest drew above 100 W.
    assert {name: line["device_metered_mj"] for name, line in lines.items()} == {
        "deployment:chat/usage": 60_000_000 + 120_000_000 + 4_500_000,
        "deployment:tts/usage": 60_000_000,
        "deployment:chat/idle": 77_000_000,
        "deployment:tts/idle": 38_500_000,
        "asset:rack/idle": 0,
    }
    costs = {name: line["gpu_cost"] for name, line in lines.items()}
    # Three quarters of the euro: 1/3 by halves, 1/3 chat's, 1/3 at rest by two to one.
    assert {name: cost.quantize(Decimal("0.000001")) for name, cost in costs.items()} == {
        "deployment:chat/usage": Decimal("0.375"),
        "deployment:tts/usage": Decimal("0.125"),
        "deployment:chat/idle": Decimal("0.166667"),
        "deployment:tts/idle": Decimal("0.083333"),
        "asset:rack/idle": Decimal("0.25"),
    }
    found = await worker.fetchrow(RESIDUALS)
    assert found is not None
    assert (found["metered"], found["estimated"], found["cost"]) == (0, 0, 0)


async def test_gpus_without_a_name_are_shared_by_number(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.customer()
    await books.facility()
    await books.lease(START, END, gpu_count=3, rate="4")
    await books.deployment(START, END, deployment_id="a", gpu_count=2, gpu_parts=4_900_000)
    await books.deployment(START, END, deployment_id="b", model="b", gpu_parts=1_750_000)
    await allocate(worker, now=LATER)
    costs = {name: line["gpu_cost"] for name, line in (await lines_of(worker, START)).items()}
    assert costs == {
        "deployment:a/idle": Decimal("1.4"),
        "deployment:b/idle": Decimal("0.25"),
        "asset:rack/idle": Decimal("1.35"),
    }


async def test_gpu_hours_are_counted_by_share_and_a_meter_once(worker: Connection) -> None:
    books = Books(worker)
    await shared_gpu(books, {"chat": "0.5", "tts": "0.3"})
    await books.usage(START, Tokens(output=1), instance="chat", busy=range(900))
    await allocate(worker, now=LATER)
    cut_off = await draw_cut_off(worker, "report")
    scope = ReportScope(entity_id="factory", since=START, until=at(3600), cut_off=cut_off)
    told = await producers_report(worker, scope, order="name")
    hours = {each.name: each.part_windows / 7_000_000 / 4 for each in told.items}
    assert hours == {"chat": 0.5, "tts": pytest.approx(0.3)}
    assert {each.name: each.utilisation for each in told.items} == {
        "chat": Decimal("0.25"),
        "tts": 0,
    }
    covered = await coverage_report(worker, **scope)
    assert [(row.covered_gpu_s, row.deployed_gpu_s) for row in covered.energy] == [(3600, 3600)] * 2


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_lost_of_gpus_whose_shares_change(worker: Connection, seed: int) -> None:
    """Whole, shared in any manner and left, changed within the day, over gaps and resets."""
    rng, books = random.Random(seed), Books(worker)
    gpus = [f"GPU-{n}" for n in range(3)]
    await books.entity()
    await books.facility()
    await books.pue(START, END, pue="1.37", host_mw_per_gpu=37_123)
    await books.tariff([(START, at(1234), "81.3"), (at(1234), END, "-17.000001")])
    await books.owned(START, END, gpu_count=4, price="99999.99", life_months=37)
    for n, gpu in enumerate(gpus):
        left, split = 10**6, rng.choice(("share", "busy_time", "weights"))
        for name in "abc":
            part = rng.choice((left, rng.randrange(1, left), left // 2))
            since = START + rng.randrange(4) * QUARTER
            await books.deployment(
                since,
                since + rng.randrange(1, 5) * QUARTER,
                deployment_id=f"{name}{n}",
                model=name,
                gpus=[gpu],
                instances=[f"{name}{n}"],
                gpu_parts=7 * part,
                gpu_split=split,
                idle_mw_per_gpu=rng.choice((None, 90_000)),
            )
            left -= part
            if not left:
                break
        await random_readings(books, rng, gpu)
    for _ in range(12):
        first = rng.randrange(900)
        await books.usage(
            START + rng.randrange(8) * QUARTER,
            Tokens(*(rng.randrange(1000) for _ in range(4))),
            buyer=Buyer(),
            instance=f"{rng.choice('abc')}{rng.randrange(3)}",
            busy=range(first, rng.randrange(first, 900) + 1),
        )
    await allocate(worker, now=LATER)
    found = await worker.fetchrow(RESIDUALS)
    assert found is not None
    assert (found["metered"], found["estimated"], found["cost"]) == (0, 0, 0)
    assert found["energy"] > 0
    assert (await allocate(worker, now=LATER)).rows_written == 0


async def test_shares_of_a_gpu_come_to_one_at_most(worker: Connection) -> None:
    await enter_site(worker)
    await enter_deployment(worker, deployment("chat", gpu_share="0.6"), AUTHOR)
    ending = deployment("tts", gpu_share="0.4", valid_to=day(5))
    await enter_deployment(worker, ending, AUTHOR)
    with pytest.raises(ConflictError, match=r"0 of the GPU GPU-1 is left at .*beside chat, tts"):
        await enter_deployment(worker, deployment("more", gpu_share="0.000001"), AUTHOR)
    later = deployment("more", gpu_share="0.4", valid_from=day(5))
    await enter_deployment(worker, later, AUTHOR)
    with pytest.raises(ConflictError, match="is left"):
        await enter_deployment(worker, deployment("one", valid_from=day(9)), AUTHOR)
    assert await worker.fetchval("SELECT count(*) FROM deployment_member") == 3


async def test_a_whole_gpu_or_one_of_another_asset_is_not_shared(worker: Connection) -> None:
    await enter_site(worker)
    await enter_asset(worker, read_input(NewAsset, ASSET | {"asset_id": "other"}), AUTHOR)
    await enter_deployment(worker, deployment("chat", gpu_share="0.5"), AUTHOR)
    await enter_deployment(worker, deployment("whole", gpu_uuids=["GPU-2"]), AUTHOR)
    with pytest.raises(ConflictError, match="GPU GPU-2 serves deployment whole of asset rack"):
        await enter_deployment(
            worker, deployment("part", gpu_share="0.1", gpu_uuids=["GPU-2"]), AUTHOR
        )
    with pytest.raises(ConflictError, match="GPU GPU-1 serves deployment chat of asset rack"):
        await enter_deployment(worker, deployment("far", asset_id="other", gpu_share="0.5"), AUTHOR)


async def test_all_on_a_gpu_split_it_in_one_manner(worker: Connection) -> None:
    await enter_site(worker)
    half = {"gpu_share": "0.5", "gpu_split": "busy_time"}
    await enter_deployment(worker, deployment("chat", **half), AUTHOR)
    with pytest.raises(ConflictError, match="GPU-1 is split by busy_time for deployment chat"):
        await enter_deployment(worker, deployment("tts", gpu_share="0.5"), AUTHOR)
    with pytest.raises(ConflictError, match="chat is weighed in slots of 15 s"):
        await enter_deployment(worker, deployment("tts", slot_s=60, **half), AUTHOR)
    await enter_deployment(worker, deployment("tts", **half), AUTHOR)


async def test_an_asset_has_room_for_parts_of_its_gpus(worker: Connection) -> None:
    await enter_site(worker)
    counted = {"gpu_uuids": [], "gpu_share": "0.5"}
    await enter_deployment(worker, deployment("a", gpu_count=15, **counted), AUTHOR)
    with pytest.raises(ConflictError, match=r"has 8 GPUs at .*, but 8\.5 would be deployed"):
        await enter_deployment(worker, deployment("b", gpu_count=2, **counted), AUTHOR)


H100 = ASSET | {"asset_id": "hopper", "gpu_type": "NVIDIA H100 80GB HBM3"}


def sliced(name: str, *slices: str, **changes: Any) -> NewDeployment:
    return deployment(name, **{"asset_id": "hopper", "mig_slices": slices} | changes)


async def test_slices_of_mig_are_parts_by_their_compute(worker: Connection) -> None:
    await enter_site(worker)
    await enter_asset(worker, read_input(NewAsset, H100), AUTHOR)
    await enter_deployment(worker, sliced("small", "1g.10gb"), AUTHOR)
    await enter_deployment(worker, sliced("big", "3g.40gb", "2g.20gb"), AUTHOR)
    counted = sliced("many", "1g.10gb+me", gpu_uuids=[], gpu_count=7)
    await enter_deployment(worker, counted, AUTHOR)
    parts = await worker.fetch("SELECT deployment_id, gpu_parts FROM deployment ORDER BY 1")
    assert [tuple(row) for row in parts] == [
        ("big", 5_000_000),
        ("many", 1_000_000),
        ("small", 1_000_000),
    ]
    assert await worker.fetchval(
        "SELECT gpu_share FROM (SELECT trim_scale(round(gpu_parts / 7000000.0, 6)) AS gpu_share"
        " FROM deployment WHERE deployment_id = 'small') d"
    ) == Decimal("0.142857")


@pytest.mark.parametrize(
    ("slices", "gpu_type", "message"),
    [
        (["1g.5gb"], "NVIDIA H100 80GB HBM3", "has no slice 1g.5gb. Send some of 1g.10gb, 1g.20gb"),
        (["1c.3g.40gb"], "NVIDIA H100 80GB HBM3", "has no slice 1c.3g.40gb"),
        (["4g.40gb", "4g.40gb"], "H100", "more than a GPU of type 'H100', which has 7 slices"),
        (["1g.20gb"] * 5, "H100", "and 8 of memory"),
        (["1g.10gb"], "NVIDIA L40S", "'NVIDIA L40S' are not known to have MIG"),
        (["1g.10gb"], "A100", r"not known to have MIG.*80GB"),
        (["1g.10gb"], None, "their asset says no gpu_type"),
    ],
)
async def test_slices_that_a_gpu_does_not_have_are_refused(
    worker: Connection, slices: list[str], gpu_type: str | None, message: str
) -> None:
    await enter_site(worker)
    await enter_asset(worker, read_input(NewAsset, H100 | {"gpu_type": gpu_type}), AUTHOR)
    with pytest.raises(InvalidInputError, match=message):
        await enter_deployment(worker, sliced("small", *slices), AUTHOR)


async def test_slices_together_are_no_more_than_the_gpu(worker: Connection) -> None:
    await enter_site(worker)
    await enter_asset(worker, read_input(NewAsset, H100), AUTHOR)
    for name in ("a", "b"):
        await enter_deployment(worker, sliced(name, "3g.40gb"), AUTHOR)
    # A seventh of the compute is left, and no memory.
    with pytest.raises(ConflictError, match="would have 9 of its 8 memory slices"):
        await enter_deployment(worker, sliced("c", "1g.10gb"), AUTHOR)
    with pytest.raises(ConflictError, match=r"is left at .*, and 0\.285714 would be deployed"):
        await enter_deployment(worker, sliced("c", "2g.20gb"), AUTHOR)
    part = deployment("c", asset_id="hopper", gpu_share="0.1")
    with pytest.raises(ConflictError, match="GPU-1 is cut into slices for deployment a"):
        await enter_deployment(worker, part, AUTHOR)
    part = deployment("c", asset_id="hopper", gpu_share="0.1", gpu_uuids=["GPU-2"])
    await enter_deployment(worker, part, AUTHOR)
    with pytest.raises(ConflictError, match="GPU-2 is not cut: a share of it is of deployment c"):
        await enter_deployment(worker, sliced("d", "1g.10gb", gpu_uuids=["GPU-2"]), AUTHOR)


async def test_a_slice_has_a_seventh_and_what_is_not_sliced_is_idle(worker: Connection) -> None:
    """Seven slices have seven equal parts of each meter, to the millijoule."""
    books = Books(worker)
    sevenths = dict.fromkeys("abcdef", "1/7")
    await shared_gpu(books, sevenths)
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, START)
    drawn = [lines[f"deployment:{name}/idle"]["device_metered_mj"] for name in sevenths]
    assert sum(drawn) + lines["asset:rack/idle"]["device_metered_mj"] == 360_000_000
    assert max(drawn) - min(drawn) <= len(drawn)


async def test_no_weights_are_calibrated_on_a_part_of_a_gpu(worker: Connection) -> None:
    await shared_gpu(Books(worker), {"chat": "0.5"})
    cut_off = await draw_cut_off(worker, "report")
    scope = ReportScope(entity_id="factory", since=START, until=at(3600), cut_off=cut_off)
    report = await CALIBRATION.read(worker, scope, Asked(CALIBRATION.defaults))
    (told,) = report.deployments
    assert [refusal.reason for refusal in told.refusals] == ["shared_gpus"]


async def test_a_trace_says_which_part_of_gpus_a_cost_is_of(worker: Connection) -> None:
    await shared_gpu(Books(worker), {"chat": "0.5"}, gpu_split="busy_time")
    await allocate(worker, now=LATER)
    asked = AskedCost("factory", "deployment:chat", START)
    traced = await trace_cost(worker, asked, cut_off=await draw_cut_off(worker, "trace"))
    assert traced.deployment is not None
    assert (traced.deployment.gpu_parts, traced.deployment.gpu_split) == (3_500_000, "busy_time")
