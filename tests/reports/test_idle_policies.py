"""Idle by a policy, before and after, exact: published cases by our own reports."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.wire.errors import InputError
from ledger.wire.idle_inputs import NewIdlePolicy
from ledger.wire.inputs import read_input
from tests.reports.test_published_cases import HOUR, QUARTER, START, Case, case
from tests.support.books import Buyer, Tokens
from tests.support.weights import enter_idle

__all__ = ["case"]


async def eight_at_ten(case: Case) -> None:
    """Eight GPUs at 10 USD: one asks for three of them and uses one, one for one, four nobody."""
    await case.open()
    await case.lease("5", gpus=8)
    await case.deploy("a", gpus=3, model="a")
    await case.deploy("b", gpus=1, model="b")
    for model, busy in (("a", 300), ("b", 900)):
        await case.books.usage(START, Tokens(output=1), buyer=Buyer(model=model), busy=range(busy))


async def of_models(case: Case) -> tuple[dict[str, Decimal], Decimal]:
    """What each model costs after idle, and what is left to the operator."""
    told = await case.margin()
    left = sum((Decimal(line["shared_by_nobody"]) for line in told["own_lines"]), Decimal(0))
    costs = {row["model"]: Decimal(row["cost"]) for row in told["items"]}
    assert sum(costs.values()) + left == Decimal(told["total"]["cost"])
    return costs, left


async def test_idle_hardware_weighted_by_what_was_reserved(case: Case) -> None:
    await eight_at_ten(case)
    await enter_idle(case.books.connection, START, "reserved_share", scope="asset:rack")
    assert await of_models(case) == ({"a": Decimal("7.50"), "b": Decimal("2.50")}, Decimal(0))


async def test_idle_hardware_by_use_and_kept(case: Case) -> None:
    await eight_at_ten(case)
    connection = case.books.connection
    await enter_idle(connection, START, "use", scope="asset:rack")
    # Both used as much: five goes half and half, beside what each deployment's own idle comes to.
    assert await of_models(case) == ({"a": Decimal("6.25"), "b": Decimal("3.75")}, Decimal(0))
    await enter_idle(connection, START, "operator", scope="asset:rack", version=2, replace=True)
    assert await of_models(case) == ({"a": Decimal("3.75"), "b": Decimal("1.25")}, Decimal(5))
    await enter_idle(connection, START, "operator")
    told = await case.margin()
    assert await of_models(case) == ({"a": Decimal("1.25"), "b": Decimal("1.25")}, Decimal("7.5"))
    assert [(each["scope"], each["version"]) for each in told["idle_policies"]] == [
        (None, 1),
        ("asset:rack", 2),
    ]
    assert "kept by the operator" in told["idle_policy"]


async def test_idle_of_clusters_and_kinds_of_resource_goes_by_use_of_each(case: Case) -> None:
    # Namespaces cost 28, 36 and 18; two clusters' processors and memory stand idle for 20 and 10.
    used = {
        "cpu-1": {"ns1": 3, "ns2": 3},
        "ram-1": {"ns1": 13, "ns2": 3},
        "cpu-2": {"ns2": 3, "ns3": 3},
        "ram-2": {"ns2": 3, "ns3": 3},
        "other": {"ns1": 12, "ns2": 24, "ns3": 12},
    }
    idle = {"cpu-1": 5, "ram-1": 15, "cpu-2": 5, "ram-2": 5, "other": 0}
    both = Case(case.books, length=2 * QUARTER)
    await both.open()
    for name in ("ns1", "ns2", "ns3"):
        await case.books.customer(name)
    # A GPU costs 1 a quarter hour: all of them at work in the first, and others at rest then.
    at_work = sum(sum(by.values()) for by in used.values())
    middle = START + QUARTER
    for since, gpus in ((START, at_work), (middle, sum(idle.values()))):
        await case.books.lease(
            since, since + QUARTER, gpu_count=gpus, rate="4", currency="USD", all_in=True
        )
    for name, by in used.items():
        worked = {"valid_to": middle.isoformat()}
        await both.deploy(name, gpus=sum(by.values()), model=name, **worked)
        if idle[name]:
            later = {"valid_from": middle.isoformat()}
            await both.deploy(name, gpus=idle[name], model=name, **later)
        for customer, tokens in by.items():
            buyer = Buyer(customer_id=customer, customer_ref=customer, model=name)
            await case.books.usage(START, Tokens(output=tokens), buyer=buyer)
    told = await both.margin("customer")
    rows = {
        row["customer"]: (Decimal(row["cost_before_idle"]), Decimal(row["idle_share"]))
        for row in told["items"]
    }
    assert rows == {
        "ns1": (Decimal(28), Decimal("14.6875")),
        "ns2": (Decimal(36), Decimal("10.3125")),
        "ns3": (Decimal(18), Decimal(5)),
    }
    assert Decimal(told["total"]["cost"]) == 112
    # Shared out by cost, what the first namespace costs with its idle makes 74.771 of the second.
    first, second = rows["ns1"], rows["ns2"]
    shared = sum(second) + sum(first) * second[0] / (112 - 30 - first[0])
    assert round(shared, 3) == Decimal("74.771")
    # And before idle is shared, with the part of it that would be.
    parts = [second[n] + first[n] * second[0] / (112 - 30 - first[0]) for n in (0, 1)]
    assert [round(part, 3) for part in parts] == [Decimal("54.667"), Decimal("20.104")]


async def test_a_policy_holds_from_its_day_on_only(case: Case) -> None:
    hour = Case(case.books, length=HOUR)
    await hour.open()
    await hour.lease("16")
    await hour.deploy()
    for number in range(4):
        at = START + number * QUARTER
        await case.books.usage(at, Tokens(output=1), busy=range(225))
    await enter_idle(case.books.connection, START + 2 * QUARTER, "operator")
    told = await hour.margin()
    (row,) = told["items"]
    assert [Decimal(row["cost_before_idle"]), Decimal(row["cost"])] == [4, 10]
    (line,) = told["own_lines"]
    assert [Decimal(line["cost"]), Decimal(line["shared_by_nobody"])] == [12, 6]


async def test_the_dearest_quarter_hour_decides_by_peak(case: Case) -> None:
    half = Case(case.books, length=2 * QUARTER)
    await half.open()
    await half.lease("16")
    await half.deploy()
    tiers = {"steady": (450, 450), "bursty": (0, 450)}
    for tier, seconds in tiers.items():
        for number, busy in enumerate(seconds):
            if busy:
                at = START + number * QUARTER
                said = range(busy) if tier == "steady" else range(450, 450 + busy)
                buyer = Buyer(tier=tier)
                await case.books.usage(at, Tokens(output=1), buyer=buyer, busy=said)
    await enter_idle(case.books.connection, START, "peak_share")
    told = await half.margin("tier")
    shares = {row["tier"]: Decimal(row["idle_share"]) for row in told["items"]}
    assert shares == {"steady": 1, "bursty": 1}


async def test_bad_policies_are_refused_by_name(case: Case) -> None:
    await eight_at_ten(case)
    connection = case.books.connection
    with pytest.raises(InvalidInputError, match="served on tier gold"):
        await enter_idle(connection, START, "reserved_tier", reserved={"gold": "0.5"})
    with pytest.raises(InvalidInputError, match="asset:none is no asset of factory"):
        await enter_idle(connection, START, "use", scope="asset:none")
    with pytest.raises(InvalidInputError, match="deployment:c is no deployment of factory"):
        await enter_idle(connection, START, "use", scope="deployment:c")
    with pytest.raises(NotFoundError, match="no entity forge"):
        await enter_idle(connection, START, "use", entity_id="forge")
    await enter_idle(connection, START, "use")
    with pytest.raises(ConflictError, match="already recorded"):
        await enter_idle(connection, START + timedelta(hours=1), "operator")


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"method": "reserved_tier"}, "reserved"),
        ({"method": "use", "reserved": {"fast": "0.5"}}, "reserved"),
        ({"method": "reserved_tier", "reserved": {"fast": "1.5"}}, "reserved.fast"),
        ({"method": "reserved_tier", "reserved": {"fast": "0"}}, "reserved.fast"),
        ({"method": "reserved_share", "reserved": {"a": "0.6", "b": "0.6"}}, "reserved"),
        ({"method": "peak_share", "scope": "asset:rack"}, "method"),
        ({"method": "use", "scope": "rack"}, "scope"),
        ({"method": "use", "version": 0}, "version"),
        ({"method": "guess"}, "method"),
    ],
)
def test_contradictions_are_refused_by_field(said: dict[str, Any], where: str) -> None:
    whole = {"entity_id": "factory", "valid_from": START.isoformat()} | said
    with pytest.raises(InputError) as refused:
        read_input(NewIdlePolicy, whole)
    assert [problem.field for problem in refused.value.problems] == [where]
