"""Revenue of models goes to who worked for them; the cheapest token comes first."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.producer import AllocatedCost, ProducerSum, producers, share_revenue
from ledger.domain.money import total

names = st.sampled_from(["a", "b", "c"])
amounts = st.decimals(0, 10**6, places=12)


@given(
    st.dictionaries(names, st.decimals(-(10**6), 10**6, places=12)),
    st.lists(st.builds(AllocatedCost, names, names, amounts), max_size=6),
)
def test_revenue_is_shared_to_the_last_unit(
    charged: dict[str, Decimal], costs: list[AllocatedCost]
) -> None:
    earned, left = share_revenue(charged, costs)
    assert total([*earned.values(), left]) == total(list(charged.values()))
    assert not earned.keys() - {cost.deployment_id for cost in costs}


def took(name: str, *, hardware: str, energy_mj: int, cost: str, output: int) -> ProducerSum:
    return ProducerSum(
        *(
            name,
            "llama",
            hardware,
            hardware[:1],
            "EUR",
            8,
            1_800,
            energy_mj,
            Decimal(cost),
            10,
            5,
            0,
            output,
        )
    )


SUMS = (
    took("old", hardware="A100", energy_mj=9_000, cost="1", output=10),
    took("new", hardware="H100", energy_mj=2_000, cost="3", output=10),
    took("new", hardware="A100", energy_mj=2_000, cost="3", output=10),
    took("silent", hardware="A100", energy_mj=1, cost="0", output=0),
)


def test_producers_are_ranked_by_what_an_output_token_took() -> None:
    found = producers(SUMS, "deployment", {"new": Decimal("0.000000000003")})
    for order, ranked in (("cost", ["old", "new"]), ("energy", ["new", "old"])):
        by_order = sorted((each.rank(order), each.name) for each in found)
        assert [name for _, name in by_order] == [*ranked, "silent"]
    new = found[0]
    assert (new.part_windows, new.input, new.output, new.revenue) == (
        *(16, 30, 20),
        Decimal("0.000000000003"),
    )
    assert new.utilisation == Decimal(1) / 4


def test_revenue_of_a_deployment_that_moved_is_told_by_its_hardware() -> None:
    found = producers(SUMS, "hardware", {"new": Decimal("0.000000000003")})
    assert {p.name: p.revenue for p in found} == {
        "A100": Decimal("0.000000000002"),
        "H100": Decimal("0.000000000001"),
    }


def test_types_of_gpu_are_told_by_what_their_assets_say() -> None:
    found = {each.name: each.energy_mj for each in producers(SUMS, "gpu_type", {})}
    assert found == {"A": 11_001, "H": 2_000}
