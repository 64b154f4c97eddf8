"""How far users' shares may be off: what other weights would have given them lies within."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.uncertainty import (
    METER,
    Taking,
    Uncertainty,
    of_full_cost,
    uncertainties,
    uncertainty_of_all,
)

KINDS = ("input_uncached", "output")
CHAT = "deployment:chat"
# Weights move nothing of it.
SURE = Fraction(0)


def took(*parts: int, estimated: int = 0, gpu: int = 0) -> dict[str, Taking]:
    """Energy by kind, and as much cost of it, beside GPU cost in the same proportions."""
    energies = dict(zip(KINDS, map(Fraction, parts), strict=True))
    energy = Fraction(sum(parts))
    more = 1 + Fraction(gpu) / energy if energy else Fraction(1)
    costs = {kind: part * more for kind, part in energies.items()}
    return {CHAT: Taking(energy, energy * more, Fraction(estimated), energy, energies, costs)}


sizes = st.integers(1, 10**9)
users = st.lists(st.tuples(sizes, sizes), min_size=1, max_size=6)
few = st.fractions(0, Fraction(1, 10))


@given(users, few, few, st.tuples(st.sampled_from([-1, 1]), st.sampled_from([-1, 1])))
def test_shares_by_other_weights_lie_within(
    said: list[tuple[int, int]], asked: Fraction, wrote: Fraction, signs: tuple[int, int]
) -> None:
    most = (asked, wrote)
    found = uncertainties(
        [took(*parts) for parts in said], {CHAT: dict(zip(KINDS, most, strict=True))}
    )
    moved = [1 + part * sign for part, sign in zip(most, signs, strict=True)]
    otherwise = [sum(p * m for p, m in zip(parts, moved, strict=True)) for parts in said]
    whole = sum(map(sum, said))
    for parts, energy, uncertainty in zip(said, otherwise, found, strict=True):
        share = Fraction(energy) / sum(otherwise) * whole
        off = abs(share / sum(parts) - 1)
        assert uncertainty.energy is not None
        # To first order: the sum of all weights moves as well.
        assert off * (1 - max(most)) <= uncertainty.energy - METER + Fraction(1, 10**8)


def test_nobody_knows_what_declared_weights_are_off_but_for_all_users_together() -> None:
    alone = uncertainties([took(10, 30)], {CHAT: None})
    assert alone == [Uncertainty(METER, METER, SURE)]
    beside = uncertainties([took(10, 30), took(30, 10)], {CHAT: None})
    assert beside == [Uncertainty(None, None)] * 2
    alike = uncertainties([took(10, 30), took(20, 60)], {CHAT: None})
    assert alike == [Uncertainty(METER, METER, SURE)] * 2


def test_meters_move_the_cost_of_power_alone_and_estimates_all_of_themselves() -> None:
    (uncertainty,) = uncertainties([took(10, 30, estimated=4, gpu=120)], {CHAT: None})
    by_meter = METER + Fraction(1, 10)
    assert uncertainty == Uncertainty(by_meter, by_meter / 4, SURE)
    whole = [each for user in (took(10, 30), took(30, 10)) for each in user.values()]
    assert uncertainty_of_all(whole) == Uncertainty(METER, METER, SURE)


def test_what_took_nothing_has_no_interval() -> None:
    assert uncertainties([{}], {}) == [Uncertainty()]


def test_shares_of_idle_and_sites_move_with_what_users_were_attributed() -> None:
    own, idle = Uncertainty(METER, Fraction(6, 100), Fraction(4, 100)), Uncertainty(METER, METER)
    # 6 % of 100 of its own, 5 % of 50 by meters and 4 % of 60 by weights.
    off = of_full_cost(own, Fraction(100), Fraction(50), Fraction(10), idle)
    assert off == (6 + Fraction(5, 2) + Fraction(24, 10)) / 160
    assert of_full_cost(own, Fraction(100), SURE, SURE, Uncertainty()) == own.cost
    for unknown in (Uncertainty(), Uncertainty(METER, METER)):
        assert of_full_cost(unknown, Fraction(100), SURE, SURE, idle) is None
    assert of_full_cost(own, Fraction(100), Fraction(50), SURE, Uncertainty()) is None
    assert of_full_cost(own, SURE, SURE, SURE, idle) is None
