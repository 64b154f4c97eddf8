"""Who pays for idle: exact to the last unit, whoever used what."""

from datetime import UTC, datetime
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.idle_policy import METHODS, IdlePolicy, User, in_force, shares

START, END = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)


def policy(method: str, scope: str = "", **reserved: str) -> IdlePolicy:
    return IdlePolicy(scope, 1, method, reserved, START, END)


def test_the_operator_keeps_it_and_use_spreads_it() -> None:
    users = [User("fast", 30), User("slow", 10)]
    assert shares(policy("operator"), 100, users) == [0, 0]
    assert shares(policy("use"), 100, users) == [75, 25]
    assert shares(None, 100, users) == [75, 25]


def test_the_peak_decides_whatever_else_was_used() -> None:
    users = [User("fast", 30, at_peak=1), User("slow", 10, at_peak=3)]
    assert shares(policy("peak_share"), 100, users) == [25, 75]
    assert shares(policy("peak_share"), 100, [User("fast", 30)]) == [0]


def test_a_tier_pays_what_it_reserved_and_did_not_use() -> None:
    # Eight at 10 USD: one reserves three of them and uses one, one uses the one that it reserved.
    users = [User("a", 125), User("b", 125)]
    reserved = {"a": "0.375", "b": "0.125"}
    assert shares(policy("reserved_tier", **reserved), 750, users) == [250, 0]
    assert shares(policy("reserved_share", **reserved), 750, users) == [250 + 375, 125]


def test_within_a_tier_who_used_it_pays_in_proportion() -> None:
    users = [User("a", 30), User("a", 10), User("b", 0)]
    assert shares(policy("reserved_tier", a="1"), 60, users) == [45, 15, 0]


def test_more_owed_than_was_idle_is_shared_by_what_is_owed() -> None:
    users = [User("a", 800), User("b", 50), User("c", 50)]
    paid = shares(policy("reserved_share", a="0.2", b="0.4", c="0.4"), 100, users)
    assert paid == [0, 50, 50]


def test_a_tier_that_used_nothing_leaves_it_to_the_operator() -> None:
    assert shares(policy("reserved_tier", a="0.5"), 100, [User("b", 100)]) == [0]


amounts = st.integers(0, 10**15)
users = st.lists(st.builds(User, st.sampled_from(["a", "b", "c"]), amounts, amounts), max_size=5)
parts = st.dictionaries(
    st.sampled_from(["a", "b", "d"]), st.sampled_from(["0.25", "0.333", "0.1"]), max_size=3
)


@given(st.sampled_from(sorted(METHODS)), amounts, users, parts)
def test_nobody_pays_less_than_nothing_and_all_no_more_than_there_is(
    method: str, idle: int, users: list[User], reserved: dict[str, str]
) -> None:
    paid = shares(policy(method, **reserved), idle, users)
    assert all(part >= 0 for part in paid)
    assert sum(paid) <= idle
    if method == "use" and any(user.attributed for user in users):
        assert sum(paid) == idle
    if method == "reserved_tier" and reserved:
        whole = idle + sum(user.attributed for user in users)
        for tier in {user.tier for user in users}:
            own = sum(part for part, user in zip(paid, users, strict=True) if user.tier == tier)
            took = sum(user.attributed for user in users if user.tier == tier)
            assert own <= max(int(Fraction(reserved.get(tier, "0")) * whole) - took, 0)


def test_a_scope_goes_by_its_own_policy_else_by_that_of_all() -> None:
    general, own = policy("operator"), policy("use", "deployment:chat")
    later = policy("use")._replace(valid_from=END, valid_to=None)
    known = [general, own, later]
    assert in_force(known, "deployment:chat", START) is own
    assert in_force(known, "deployment:other", START) is general
    assert in_force(known, "deployment:other", END) is later
    assert in_force(known, "asset:rack", START) is None
    assert in_force([own], "deployment:other", START) is None
