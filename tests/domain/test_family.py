"""Who is above whom follows from parents alone, at every moment; circles and depths are refused."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.billing.family import DEPTH_MAX, Above, ParentLink, list_above
from ledger.domain.errors import InvalidInputError
from ledger.domain.period import FAR, Period

DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = "abcdefg"


def at(day: int) -> datetime:
    return DAY_0 + timedelta(days=day)


def link(child: str, parent: str, since: int = 0, until: int | None = None) -> ParentLink:
    return ParentLink(child, parent, Period(at(since), FAR if until is None else at(until)))


@st.composite
def families(draw: st.DrawFn) -> list[ParentLink]:
    """Links of which a name's parents come before it, so that there is no circle; by days."""
    links = []
    for index, name in enumerate(NAMES[1:], start=1):
        days = sorted(draw(st.sets(st.integers(0, 9), max_size=4)))
        for since, until in pairwise(days):
            parent = draw(st.sampled_from(["", *NAMES[max(index - 2, 0) : index]]))
            if parent:
                links.append(link(name, parent, since, until))
    return links


@given(families())
def test_who_is_above_is_who_one_comes_to_going_up(links: list[ParentLink]) -> None:
    try:
        above = list_above(NAMES, links)
    except InvalidInputError:
        assert any(
            len(climb(name, at(day), links)) > DEPTH_MAX for name in NAMES for day in range(9)
        )
        return
    for name in NAMES:
        for day in range(10):
            expected = climb(name, at(day), links)
            told = [each for each in above if each.customer_id == name and at(day) in each.valid]
            assert {each.above_id for each in told} == set(expected)
            assert [each.above_id for each in told if each.pays] == expected[-1:]


def climb(name: str, moment: datetime, links: list[ParentLink]) -> list[str]:
    found: list[str] = []
    while parents := [p.parent_id for p in links if p.customer_id == name and moment in p.valid]:
        (name,) = parents
        found.append(name)
    return found


def test_a_move_splits_and_what_touches_is_one_stretch() -> None:
    links = [link("b", "a", 0, 5), link("b", "c", 5), link("d", "b"), link("c", "a", 7)]
    assert list_above(["d"], links) == [
        Above("d", "a", True, Period(at(0), at(5))),
        Above("d", "a", True, Period(at(7), FAR)),
        Above("d", "b", False, Period(at(0), FAR)),
        Above("d", "c", False, Period(at(7), FAR)),
        Above("d", "c", True, Period(at(5), at(7))),
    ]


def test_a_circle_is_refused_only_where_its_times_meet() -> None:
    apart = [link("a", "b", 0, 5), link("b", "a", 5, 9)]
    assert len(list_above("ab", apart)) == 2
    with pytest.raises(
        InvalidInputError, match="a would be above itself: a of b of a, at 2026-01-05"
    ):
        list_above("a", [link("a", "b", 0, 5), link("b", "a", 4, 9)])


def test_a_chain_has_an_end() -> None:
    chain = [link(f"n{n}", f"n{n + 1}") for n in range(DEPTH_MAX)]
    assert len(list_above(["n0"], chain)) == DEPTH_MAX
    with pytest.raises(InvalidInputError, match="more than 5 customers above it"):
        list_above(["n0"], [*chain, link(f"n{DEPTH_MAX}", "top")])
