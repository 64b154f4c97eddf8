"""What tokens took adds up: rows and lines to the whole, kinds to their row; holes stay holes."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.efficiency import (
    TOKEN_KINDS,
    Efficiency,
    EfficiencySum,
    KindSum,
    efficiency,
    fit,
)

# So much energy in one quarter hour at one factor: mJ times g/kWh times its 900 seconds.
KWH_MJ = 3_600_000_000


def took(
    model: str,
    energy_mj: int,
    *,
    line: str = "usage",
    factor: str = "400",
    cost: str = "1",
    claims: tuple[int, ...] = (1, 0, 0, 3),
    hole: bool = False,
) -> list[EfficiencySum]:
    grams = Decimal(energy_mj) * Decimal(factor) * 900
    rows = []
    for kind, claim in zip(TOKEN_KINDS, claims, strict=True):
        share = Decimal(claim) / sum(claims) if any(claims) else Decimal(0)
        first = kind == TOKEN_KINDS[0]
        rows.append(
            EfficiencySum(
                *("deployment:chat", line, "EUR", [model], None, kind),
                *((energy_mj, Decimal(cost)) if first else (0, Decimal(0))),
                *((grams, Decimal(0), grams) if first else (Decimal(0),) * 3),
                *((0, energy_mj if hole else 0, 0) if first else (0, 0, 0)),
                *(energy_mj * share, Decimal(cost) * share),
                *(grams * share, Decimal(0), grams * share),
                *(0, Decimal(cost) if first else Decimal(0)),
            )
        )
    return rows


def tokens(model: str, uncached: int, output: int) -> KindSum:
    return KindSum([model], None, uncached, 0, 0, output)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 10**15),
            st.decimals(0, 2_000, places=6).map(str),
            st.decimals(-10, 10, places=12).map(str),
            st.tuples(*[st.integers(0, 10**9)] * 4),
            st.sampled_from(["usage", "idle"]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_everything_adds_up(drawn: list[tuple[str, int, str, str, tuple[int, ...], str]]) -> None:
    sums = [
        row
        for model, energy, factor, cost, claims, line in drawn
        for row in took(model, energy, line=line, factor=factor, cost=cost, claims=claims)
    ]
    found = efficiency(sums, [], ("model",))
    taken = [row.taken for row in (*found.rows, *found.own_lines)]
    whole = found.total.taken
    assert sum(one.energy_mj for one in taken) == whole.energy_mj == sum(d[1] for d in drawn)
    assert sum(one.cost for one in taken) == whole.cost
    assert sum(one.water or 0 for one in taken) == whole.water
    exact = sum((Fraction(d[2]) * d[1] for d in drawn), Fraction(0)) / KWH_MJ
    assert abs(Fraction(whole.water or 0, 10**6) - exact) <= Fraction(1, 2 * 10**6)
    for row in found.rows:
        if row.by_kind is not None:
            assert sum(one.energy_mj for one in row.by_kind.values()) == row.taken.energy_mj
            assert sum(one.cost for one in row.by_kind.values()) == row.taken.cost
            assert sum(one.water or 0 for one in row.by_kind.values()) == row.taken.water


def shown(*sums: list[EfficiencySum]) -> Efficiency:
    return efficiency([row for rows in sums for row in rows], [tokens("a", 10, 5)], ("model",))


def test_kinds_go_by_their_claims() -> None:
    row = shown(took("a", 4_000, claims=(1, 0, 0, 3))).rows[0]
    assert row.by_kind is not None
    assert [one.energy_mj for one in row.by_kind.values()] == [1_000, 0, 0, 3_000]


def test_energy_without_a_factor_makes_its_row_and_the_whole_unknown_and_no_other() -> None:
    found = shown(took("a", KWH_MJ, hole=True), took("b", KWH_MJ))
    holed, known = found.rows
    assert (holed.taken.carbon_market, found.total.taken.carbon_market) == (None, None)
    assert (known.taken.carbon_market, known.taken.carbon_location) == (0, 400 * 10**6)
    assert holed.taken.carbon_location == 400 * 10**6


def test_what_weights_do_not_tell_apart_has_no_kinds() -> None:
    assert shown(took("a", 4_000, claims=(0, 0, 0, 0))).rows[0].by_kind is None


@given(st.lists(st.fractions(-(10**9), 10**9), min_size=1, max_size=8))
def test_whole_numbers_next_to_parts_add_up(parts: list[Fraction]) -> None:
    whole = round(sum(parts))
    fitted = fit(whole, parts)
    assert fitted is not None
    assert sum(fitted) == whole
    assert all(abs(one - part) <= 1 for one, part in zip(fitted, parts, strict=True))
