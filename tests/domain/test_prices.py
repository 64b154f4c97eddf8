"""What holds for every price model: its golden table, JSON there and back, a place in the table."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger.domain.pricing.models
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, plain, total
from ledger.domain.period import DAY, Period
from ledger.domain.pricing.models import PRICE_MODELS, load_price
from ledger.domain.pricing.period_charges import DayUse, pooled_amounts, timed_amounts
from ledger.domain.pricing.price_model import Basis, PeriodUse, PriceModel
from ledger.domain.pricing.rate_card import CardPrice
from ledger.domain.pricing.subscription import Subscription
from ledger.wire.price_inputs import PRICE_FIELDS, SPELLED_OUT

GOLDEN = Path(__file__).parents[1] / "golden" / "prices"
KINDS = pytest.mark.parametrize("kind", PRICE_MODELS)
OF_UNITS = [kind for kind, model in PRICE_MODELS.items() if model.basis is not Basis.TIME]
OF_TIME = [kind for kind, model in PRICE_MODELS.items() if model.basis is Basis.TIME]
UNIT_KINDS = pytest.mark.parametrize("kind", OF_UNITS)
TIME_KINDS = pytest.mark.parametrize("kind", OF_TIME)
QUANTITIES = st.integers(0, 10**15)
MARCH = datetime(2024, 3, 1, tzinfo=UTC)


def golden(kind: str) -> dict[str, Any]:
    """Parameters, amounts by quantity or by the part of a period that is gone, and what holds."""
    table: dict[str, Any] = json.loads((GOLDEN / f"{kind}.json").read_text(encoding="utf-8"))
    return table


def sample(kind: str) -> PriceModel:
    return load_price(kind, golden(kind)["params"])


@UNIT_KINDS
def test_a_price_gives_its_golden_amounts(kind: str) -> None:
    table = golden(kind)["amounts"]
    assert len(table) >= 5
    for quantity, amount in table.items():
        assert sample(kind).price(int(quantity)) == Decimal(amount), quantity


@TIME_KINDS
def test_a_fee_gives_its_golden_amounts(kind: str) -> None:
    table = golden(kind)
    assert len(table["timed"]) >= 5
    for share, amount in table["timed"].items():
        gone, whole = map(int, share.split("/"))
        use = PeriodUse(0, gone, whole, Decimal(table.get("charged", 0)))
        assert sample(kind).amount_of(use) == Decimal(amount), share


@UNIT_KINDS
def test_nothing_used_costs_nothing_and_less_than_nothing_is_refused(kind: str) -> None:
    assert sample(kind).price(0) == 0
    with pytest.raises(InvalidInputError, match="-1 units"):
        sample(kind).price(-1)


@UNIT_KINDS
@given(one=QUANTITIES, more=QUANTITIES)
def test_more_never_costs_less_unless_a_model_says_so(kind: str, one: int, more: int) -> None:
    # A volume price re-prices all units at the next tier, which may cost less in all.
    if golden(kind)["rises"]:
        assert sample(kind).price(one) <= sample(kind).price(one + more)


@UNIT_KINDS
@given(parts=st.lists(QUANTITIES, min_size=1, max_size=8))
def test_a_divisible_price_is_the_sum_over_its_parts(kind: str, parts: list[int]) -> None:
    price = sample(kind)
    assert golden(kind)["divisible"] == (price.basis is Basis.EACH)
    if golden(kind)["divisible"]:
        assert total([price.price(part) for part in parts]) == price.price(sum(parts))
        assert price.price(sum(parts)) == sum(parts) * price.each_amount


@KINDS
@given(quantity=QUANTITIES, gone=st.integers(0, 2_678_400))
def test_parts_sum_to_the_amount_and_are_exact(kind: str, quantity: int, gone: int) -> None:
    price, use = sample(kind), PeriodUse(quantity, gone, 2_678_400, Decimal("12.345"))
    parts = price.parts(use)
    assert total([part.exact for part in parts]) == price.amount_of(use)
    for part in parts:
        assert part.exact * part.per == part.quantity * part.unit_amount
    names = [part.name for part in parts]
    assert len(set(names)) == len(names)


def naive(kind: str, params: dict[str, Any], used: int) -> Decimal:
    """What `used` units come to, one unit after the other; tiers are looked up anew for each."""
    amount, reached = Decimal(0), set()
    for unit in range(1, used + 1):
        at = used if kind == "volume" else unit
        (tier,) = [t for t in params["tiers"] if t["start"] < at and (t.get("end") or used) >= at]
        amount += Decimal(tier["amount"]) / params["per"]
        reached.add(tier["start"])
    flats = {t["start"]: Decimal(t.get("flat", 0)) for t in params["tiers"]}
    return amount + sum((flats[start] for start in reached), Decimal(0))


@st.composite
def tiers(draw: st.DrawFn) -> dict[str, Any]:
    edges = sorted(draw(st.sets(st.integers(1, 60), max_size=4)))
    cents = st.integers(0, 500).map(lambda cents: plain(Decimal(cents).scaleb(-2)))
    table = [
        {"start": start, "end": end, "amount": draw(cents), "flat": draw(cents)}
        for start, end in pairwise([0, *edges, None])
    ]
    return {"tiers": table, "per": draw(st.sampled_from([1, 10, 1_000]))}


@pytest.mark.parametrize("kind", ["graduated", "volume"])
@given(params=tiers(), used=st.integers(0, 80))
def test_tiers_agree_with_a_loop_over_units(kind: str, params: dict[str, Any], used: int) -> None:
    assert load_price(kind, params).price(used) == naive(kind, params, used)


DAYS = st.lists(st.lists(st.integers(0, 3 * 10**7), min_size=1, max_size=3), max_size=12)


@UNIT_KINDS
@given(days=DAYS)
def test_days_telescope_to_the_period(kind: str, days: list[list[int]]) -> None:
    price = sample(kind)
    uses = [
        DayUse("acme", "sub", 7, MARCH + n * DAY, key, "output_visible", units)
        for n, keys in enumerate(days)
        for key, units in enumerate(keys)
        if units
    ]
    period = Period(MARCH, MARCH + 31 * DAY)
    found = list(pooled_amounts(reversed(uses), {7: price}, {"sub": [period]}))
    so_far = 0
    for n, keys in enumerate(days):
        so_far += sum(keys)
        up_to = [each.amount for each in found if each.day_start <= MARCH + n * DAY]
        assert total(up_to) == price.price(so_far)
    # What a day adds is not changed by the days behind it.
    first = [use for use in uses if use.day_start < MARCH + 3 * DAY]
    alone = list(pooled_amounts(first, {7: price}, {"sub": [period]}))
    assert alone == [each for each in found if each.day_start < MARCH + 3 * DAY]


@TIME_KINDS
@given(
    charged=st.lists(st.integers(0, 3_000), min_size=31, max_size=31),
    since=st.integers(0, 40),
    cuts=st.sets(st.integers(0, 31 * 96)),
)
def test_time_telescopes_to_the_period(
    kind: str, charged: list[int], since: int, cuts: set[int]
) -> None:
    subscription = Subscription("sub", "acme", "card", "UTC", 1, MARCH, None)
    quarter = timedelta(minutes=15)
    begins = MARCH + since * DAY
    price = CardPrice(7, "fee", None, None, None, None, None, sample(kind), begins, None)
    by_day = {MARCH + n * DAY: Decimal(cents).scaleb(-2) for n, cents in enumerate(charged)}
    edges = [MARCH + n * quarter for n in sorted({0, *cuts, 31 * 96})]
    spans = [Period(*each) for each in pairwise(edges)]
    found = timed_amounts(subscription, price, spans, charged=by_day, usage_key_id=1)
    gone = max(0, 31 - since)
    usage = total([amount for at, amount in by_day.items() if at >= begins])
    whole = PeriodUse(0, gone, 31, usage)
    assert total([each.amount for each in found]) == sample(kind).amount_of(whole)


@given(lengths=st.sets(st.integers(1, 2_678_399)))
def test_a_fee_is_prorated_by_the_second(lengths: set[int]) -> None:
    fee = sample("recurring")
    for seconds in lengths:
        exact = Decimal(310) * seconds / 2_678_400
        said = fee.amount_of(PeriodUse(0, seconds, 2_678_400))
        assert 0 <= exact - said < Decimal("0.000000000001")


@KINDS
def test_a_price_survives_json_without_a_float(kind: str) -> None:
    price = sample(kind)
    text = price.model_dump_json()
    assert type(price).model_validate_json(text) == price
    assert not any(isinstance(value, float) for value in json.loads(text).values())
    params = price.model_dump(mode="json", exclude={"kind"})
    assert load_price(kind, params) == price


def tier(start: object, end: object = None, amount: str = "1") -> dict[str, object]:
    return {"start": start, "end": end, "amount": amount}


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "gapped": ("graduated", {"tiers": [tier(0, 10), tier(11)]}, "nothing is said from 10 to 11"),
    "overlapping": ("volume", {"tiers": [tier(0, 10), tier(9)]}, "overlaps the next"),
    "open before the end": ("volume", {"tiers": [tier(0), tier(9)]}, "overlaps the next"),
    "not from zero": ("graduated", {"tiers": [tier(1)]}, "starts at 1, not at 0"),
    "not to the end": ("graduated", {"tiers": [tier(0, 10)]}, "nothing is said above 10"),
    "empty tier": ("graduated", {"tiers": [tier(0, 0), tier(0)]}, "0 to 0 is empty"),
    "no tiers": ("volume", {"tiers": []}, "tiers"),
    "below nothing": ("volume", {"tiers": [tier(0, None, "-1")]}, "amount"),
    "tier too fine": ("volume", {"tiers": [tier(0, None, "0.0000001")]}, "over twelve decimals"),
    "too fine": ("per_unit", {"amount": "0.0000001"}, "over twelve decimals"),
    "fee too fine": ("recurring", {"amount": "0.0000000000001", "every": "month"}, "over twelve"),
    "no package": ("package", {"amount": "1", "size": 0}, "size"),
    "no period": ("commitment", {"amount": "100"}, "every"),
    "another period": ("commitment", {"amount": "100", "every": "year"}, "every"),
    "not a number": ("included", {"included": 1, "amount": "NaN"}, "amount"),
    "a float": ("per_unit", {"amount": 0.1}, "decimal as text"),
    "a foreign field": ("per_unit", {"amount": "1", "size": 5}, "size"),
    "no such kind": ("matrix", {}, "no price model"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_terms_are_refused_with_where_they_are_wrong(name: str) -> None:
    kind, params, said = BAD[name]
    with pytest.raises(InvalidInputError, match=said):
        load_price(kind, params)


@KINDS
def test_what_people_enter_of_a_kind_is_what_its_model_takes(kind: str) -> None:
    assert set(PRICE_FIELDS[kind]) == PRICE_MODELS[kind].model_fields.keys() - {"kind"}


def test_every_module_of_the_folder_is_in_the_table() -> None:
    folder = Path(next(iter(ledger.domain.pricing.models.__path__)))
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert modules == set(PRICE_MODELS) == {path.stem for path in GOLDEN.glob("*.json")}
    assert modules == set(PRICE_FIELDS) - {*SPELLED_OUT}


def test_no_amount_has_more_digits_than_are_kept() -> None:
    most = sample("graduated").price(2**62)
    assert EXACT.create_decimal(most) == most
