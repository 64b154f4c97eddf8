"""Which grant pays for what: in order, never more than there is, and every cent in one place."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.billing.grant import (
    ChargedUse,
    Draw,
    Grant,
    ToPay,
    UseKind,
    apply_draws,
    draw_changes,
    draw_down,
)

FIRST = date(2024, 3, 1)
METERS, MODELS = ("input_uncached", "output_visible"), ("llama", "mixtral")


def grant(grant_id: str, amount: str = "10", **more: object) -> Grant:
    said: dict[str, object] = {
        **{"customer_id": "acme", "kind": "prepaid", "currency": "USD", "priority": 0},
        **{"meters": frozenset(), "models": frozenset(), "granted_on": FIRST},
        **{"starts_on": FIRST, "expires_on": None},
    }
    return Grant(grant_id=grant_id, amount=Decimal(amount), **{**said, **more})  # type: ignore[arg-type]


def use(day: int, amount: str, meter: str = METERS[0], model: str = MODELS[0]) -> ChargedUse:
    start = datetime(2024, 3, 1, tzinfo=UTC) + timedelta(days=day)
    return ChargedUse(start, UseKind("sub", meter, model), "USD", Decimal(amount))


def drawn(grants: list[Grant], uses: list[ChargedUse]) -> list[Draw]:
    return list(draw_down(grants, [(each.day_start.date(), each) for each in uses], {}))


def by_grant(draws: list[Draw]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for each in draws:
        sums[each.grant_id] += each.amount
    return dict(sums)


def test_it_is_drawn_by_priority_then_by_expiry_then_by_age() -> None:
    grants = [
        grant("for-ever"),
        grant("younger", granted_on=FIRST + timedelta(days=1)),
        grant("expires", expires_on=date(2024, 4, 1)),
        grant("first", expires_on=date(2024, 3, 20), granted_on=FIRST + timedelta(days=2)),
        grant("last", priority=5, expires_on=date(2024, 3, 10)),
    ]
    found = drawn(grants, [use(2, "45")])
    assert [each.grant_id for each in found] == ["first", "expires", "for-ever", "younger", "last"]
    assert [each.amount for each in found] == [10, 10, 10, 10, 5]


def test_a_grant_pays_for_its_days_meters_and_models_only() -> None:
    grants = [
        grant("later", starts_on=FIRST + timedelta(days=3)),
        grant("over", expires_on=FIRST + timedelta(days=2)),
        grant("other-model", models=frozenset({"mixtral"})),
        grant("output", meters=frozenset({"output_visible"})),
        grant("euro", currency="EUR"),
    ]
    assert drawn(grants, [use(2, "3")]) == []
    assert by_grant(drawn(grants, [use(1, "3"), use(3, "4")])) == {"over": 3, "later": 4}
    assert by_grant(drawn(grants, [use(2, "3", model="mixtral")])) == {"other-model": 3}


def test_what_a_day_takes_back_goes_to_who_paid_last() -> None:
    grants = [grant("a", "4", priority=1), grant("b", "4", priority=2)]
    found = drawn(grants, [use(0, "7"), use(1, "-5"), use(2, "6")])
    assert [(each.grant_id, int(each.amount)) for each in found] == [
        *(("a", 4), ("b", 3), ("b", -3), ("a", -2), ("a", 2), ("b", 4)),
    ]


cents = st.integers(1, 500).map(lambda n: Decimal(n) / 100)
scopes = st.sampled_from([(), METERS[:1], METERS[1:]])
grants_of = st.lists(
    st.tuples(
        cents,
        st.integers(0, 2),
        scopes,
        st.integers(0, 6),
        st.none() | st.integers(1, 6),
        st.integers(0, 3),
    ),
    max_size=5,
).map(
    lambda found: [
        grant(
            f"g{n}",
            str(amount),
            priority=priority,
            meters=frozenset(meters),
            granted_on=FIRST - timedelta(days=age),
            starts_on=FIRST + timedelta(days=since),
            expires_on=None if lasts is None else FIRST + timedelta(days=since + lasts),
        )
        for n, (amount, priority, meters, since, lasts, age) in enumerate(found)
    ]
)
uses_of = st.lists(
    st.builds(
        use,
        st.integers(0, 9),
        cents.map(str),
        st.sampled_from(METERS),
        st.sampled_from(MODELS),
    ),
    max_size=12,
    unique_by=lambda each: (each.day_start, each.kind),
)


@given(grants_of, uses_of)
def test_it_agrees_with_a_loop_over_cents(grants: list[Grant], uses: list[ChargedUse]) -> None:
    """One cent after the other, each of the first grant in order that has one left for it."""
    left = {each.grant_id: int(each.amount * 100) for each in grants}
    paid: dict[tuple[str, datetime, UseKind], int] = defaultdict(int)
    order = sorted(
        grants, key=lambda g: (g.priority, g.expires_on or date.max, g.granted_on, g.grant_id)
    )
    for each in sorted(uses, key=lambda u: (u.day_start, u.kind)):
        day = each.day_start.date()
        for _ in range(int(each.amount * 100)):
            for one in order:
                valid = one.starts_on <= day and (one.expires_on is None or day < one.expires_on)
                scoped = not one.meters or each.kind.meter in one.meters
                if valid and scoped and left[one.grant_id]:
                    left[one.grant_id] -= 1
                    paid[one.grant_id, each.day_start, each.kind] += 1
                    break
    found = {(d.grant_id, d.day_start, d.kind): int(d.amount * 100) for d in drawn(grants, uses)}
    assert found == dict(paid)


signed = st.lists(
    st.builds(
        use,
        st.integers(0, 9),
        st.integers(-400, 500).filter(bool).map(lambda n: str(Decimal(n) / 100)),
        st.sampled_from(METERS),
    ),
    max_size=12,
    unique_by=lambda each: (each.day_start, each.kind),
)


@given(grants_of, signed)
def test_no_grant_is_ever_below_nothing_or_above_what_it_holds(
    grants: list[Grant], uses: list[ChargedUse]
) -> None:
    held = {each.grant_id: each.amount for each in grants}
    so_far: dict[str, Decimal] = defaultdict(Decimal)
    for each in drawn(grants, uses):
        so_far[each.grant_id] += each.amount
        assert 0 <= so_far[each.grant_id] <= held[each.grant_id]


@given(grants_of, signed, st.integers(0, 9))
def test_from_any_day_on_it_comes_to_the_same(
    grants: list[Grant], uses: list[ChargedUse], day: int
) -> None:
    """What is found anew from a day on is what was found in one go."""
    moment = datetime(2024, 3, 1, tzinfo=UTC) + timedelta(days=day)
    whole = drawn(grants, uses)
    before: dict[tuple[str, UseKind], Decimal] = defaultdict(Decimal)
    for each in whole:
        if each.day_start < moment:
            before[each.grant_id, each.kind] += each.amount
    rest = [(each.day_start.date(), each) for each in uses if each.day_start >= moment]
    later = [each for each in whole if each.day_start >= moment]
    assert list(draw_down(grants, rest, before)) == later
    assert draw_changes(later, later) == []


parts = st.lists(st.integers(-500, 500).filter(bool).map(lambda n: Decimal(n) / 1_000), max_size=4)


@given(parts, st.integers(-3_000, 3_000), st.integers(-2, 2), st.integers(0, 300))
def test_an_invoice_is_paid_up_to_what_it_asks(
    amounts: list[Decimal], mills: int, rounded_off: int, tax: int
) -> None:
    exact = Decimal(mills) / 1_000
    rounded = Decimal(round(mills / 10) + (rounded_off if mills > 20 else 0)) / 100
    payable = rounded + Decimal(tax if rounded >= 0 else -tax) / 100
    drawn_ = [(f"g{n}", amount) for n, amount in enumerate(amounts)]
    found = apply_draws(drawn_, ToPay(exact, rounded, payable), currency="USD", mode="half_up")
    given_ = dict(drawn_)
    for each in found:
        asked = given_[each.grant_id]
        assert 0 < each.exact_amount / asked <= 1
    applied = sum(each.exact_amount for each in found)
    if exact >= 0:
        assert applied <= exact
    credit = sum((each.amount for each in found), Decimal(0))
    assert credit == credit.quantize(Decimal("0.01"))
    if found and applied == exact:
        assert payable - credit == payable - rounded, "nothing is left but its tax"
    if payable >= 0 and exact >= 0:
        assert credit <= rounded
