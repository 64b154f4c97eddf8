"""Whatever discounts a card has, they take off no more than there is, and days add up to it."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.money import total
from ledger.domain.period import DAY
from ledger.domain.pricing.discounts import UsageCharge, discounted
from ledger.domain.pricing.models import load_price
from ledger.domain.pricing.rate_card import CardPrice, UsageKey
from ledger.domain.pricing.subscription import Subscription

MARCH = datetime(2024, 3, 1, tzinfo=UTC)
SUBSCRIPTION = Subscription("sub", "acme", "card", "UTC", 1, MARCH, None)
METERS = st.sampled_from(["input_uncached", "output_visible"])
MODELS = st.sampled_from(["llama", "llama-2", "qwen"])
CENTS = st.integers(0, 10_000).map(lambda cents: Decimal(cents).scaleb(-2))
USES = st.lists(
    st.builds(
        lambda day, meter, model, amount: UsageCharge(
            MARCH + day * DAY, meter, UsageKey(model, "standard"), amount
        ),
        *(st.integers(0, 30), METERS, MODELS, CENTS),
    ),
    max_size=12,
)


@st.composite
def discounts(draw: st.DrawFn) -> list[CardPrice]:
    prices, ids = [], count(1)
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True)):
        if draw(st.booleans()):
            percent = str(draw(st.integers(1, 1_000_000))).zfill(5)
            said = {"percent": f"{percent[:-4]}.{percent[-4:]}"}
            price = load_price("percent_off", said | {"on": draw(st.none() | METERS)})
        else:
            price = load_price("amount_off", {"amount": draw(CENTS), "every": "month"})
        model = draw(st.none() | st.sampled_from(["llama", "llama*", "qwen", "*"]))
        scope = model if "percent" in price.model_dump() else None
        since = MARCH + draw(st.integers(0, 20)) * DAY
        prices.append(
            CardPrice(
                *(next(ids), "discount", scope, None, None, None, None, price, since),
                since + draw(st.integers(1, 20)) * DAY,
                name=name,
            )
        )
    return prices


@given(prices=discounts(), uses=USES)
def test_no_more_comes_off_than_there_is(prices: list[CardPrice], uses: list[UsageCharge]) -> None:
    found = discounted(SUBSCRIPTION, prices, uses, usage_key_id=1)
    used = total([use.amount for use in uses])
    off = total([each.amount for each in found.off])
    assert off <= 0 <= used + off
    assert total(list(found.left.values())) == used + off
    for price in prices:
        mine = [each for each in found.off if each.price_id == price.price_id]
        assert all(each.day_start in price.validity for each in mine)
        if price.price.kind == "amount_off":  # type: ignore[union-attr]
            assert -total([each.amount for each in mine]) <= price.price.amount  # type: ignore[union-attr]


@given(uses=USES)
def test_all_of_it_may_come_off_and_then_nothing_more(uses: list[UsageCharge]) -> None:
    whole = load_price("percent_off", {"percent": "100"})
    more = load_price("amount_off", {"amount": "5", "every": "month"})
    prices = [
        CardPrice(n, "discount", None, None, None, None, None, price, MARCH, None, name="x")
        for n, price in enumerate((whole, more))
    ]
    found = discounted(SUBSCRIPTION, prices, uses, usage_key_id=1)
    assert total(list(found.left.values())) == 0
    assert {each.price_id for each in found.off} <= {0}
