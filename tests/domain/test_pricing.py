from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.billing.invoice import (
    Billed,
    InvoiceTotals,
    LineKey,
    adjustment_lines,
    totals,
    usage_lines,
)
from ledger.domain.books.booking import (
    CostTotals,
    Currencies,
    Earned,
    cost_accrued,
    invoice_issued,
    usage_accrued,
)
from ledger.domain.books.journal import JournalEntry, Posting, balance, difference, merged, reversal
from ledger.domain.cost.margin import Margin
from ledger.domain.errors import InvalidInputError
from ledger.domain.period import WINDOW, Period, window_of, windows
from ledger.domain.pricing.explain import explain_price
from ledger.domain.pricing.hours import read_hours
from ledger.domain.pricing.models import load_price
from ledger.domain.pricing.models.per_unit import PerUnit
from ledger.domain.pricing.outcome import OUTCOMES, outcome_bits
from ledger.domain.pricing.price_list import ListedPrice, spell_out
from ledger.domain.pricing.rate_card import (
    METERS,
    OUTCOME,
    UNASKED_METERS,
    USAGE_METERS,
    CardPrice,
    RateCard,
    UsageKey,
    check_card,
    context_band,
    find_price,
)

AT = datetime(2023, 11, 1, tzinfo=UTC)
KEY = LineKey(AT, AT.replace(month=12), "m", "standard", "", "", 0, "input_uncached", 1)


def price(meter: str, amount: str, *, price_id: int = 1, **named: object) -> CardPrice:
    plain = CardPrice(
        price_id=price_id,
        meter=meter,
        model=None,
        tier=None,
        adapter=None,
        region=None,
        band_from=None,
        price=PerUnit(amount=Decimal(amount), per=1_000_000),
        valid_from=AT,
        valid_to=None,
    )
    return replace(plain, **named)  # type: ignore[arg-type]


def card(*prices: CardPrice) -> RateCard:
    return RateCard("card", "USD", prices)


def listed(on: RateCard, at: datetime = AT) -> dict[str, ListedPrice]:
    """What each meter of a model costs in a window."""
    found = spell_out(on, UsageKey("m", "t"), window_of(at))
    return {one.meter: one for one in found}


def billed(on: RateCard, used: dict[str, int]) -> dict[LineKey, Billed]:
    """What usage comes to at the listed prices."""
    prices = listed(on)
    amounts = {meter: prices[meter].each_amount for meter in used}
    return {
        KEY._replace(meter=meter): Billed(used[meter], used[meter] * amount)
        for meter, amount in amounts.items()
        if amount is not None
    }


@pytest.mark.parametrize(
    ("prices", "exact", "lines", "net"),
    [
        (("5", "15"), "93.98831", ("90.30", "3.69"), "93.99"),
        (("2.5", "10"), "47.608895", ("45.15", "2.46"), "47.61"),
    ],
)
def test_the_azure_trace_costs_what_its_tokens_cost(
    prices: tuple[str, str], exact: str, lines: tuple[str, str], net: str
) -> None:
    cards = card(price("input_uncached", prices[0]), price("output_visible", prices[1]))
    used = {"input_uncached": 18_059_974, "output_visible": 245_896}
    made = usage_lines(billed(cards, used), "USD")
    assert tuple(str(line.amount) for line in made) == lines
    assert totals(made, currency="EUR").exact == Decimal(exact)
    assert totals(made, currency="EUR").net == Decimal(net)


def test_the_worked_invoice_rounds_each_line_once() -> None:
    cards = card(price("input_uncached", "0.59"), price("output_visible", "0.79", price_id=2))
    used = {"input_uncached": 8_400_000, "output_visible": 2_100_001}
    made = usage_lines(billed(cards, used), "EUR")
    assert [str(line.amount) for line in made] == ["4.96", "1.66"]
    assert totals(made, currency="EUR").exact == Decimal("6.61500079")
    assert totals(made, currency="EUR").payable == Decimal("6.62")


def test_usage_without_a_price_is_listed_and_never_zero() -> None:
    prices = listed(card(price("input_uncached", "1")))
    assert prices["input_uncached"].each_amount == Decimal("0.000001")
    assert prices["input_cache_read"].each_amount is None
    assert "input_cache_read of m, tier t" in (prices["input_cache_read"].unpriced or "")


TERMS = st.sampled_from(["0", "1", "2"])
NAMES = st.sampled_from([None, "m", "n", "m*", "n*", "*"])
HOURS = st.sampled_from([None, "00:00-01:00 UTC", "01:30-03:00 UTC", "wed 02:00-02:30 Asia/Tokyo"])
QUARTERS = st.integers(0, 12)
WHO = st.sampled_from([None, "lab"])
PAYERS = st.sampled_from(["customer", "house"])
# An attempt of lab, aborted and filtered.
ODD = UsageKey("m", "t", project_id="lab", outcomes=outcome_bits(["aborted", "filtered"]))


@st.composite
def any_price(draw: st.DrawFn) -> CardPrice:
    since, length = draw(QUARTERS), draw(QUARTERS)
    meter = draw(st.sampled_from([*USAGE_METERS[-3:], "input_video", "input_uncached", OUTCOME]))
    ruled: dict[str, object] = {}
    if meter == OUTCOME:
        said = {"outcome": draw(st.sampled_from(OUTCOMES[:3])), "pays": draw(PAYERS)}
        ruled = {"price": load_price("who_pays", said), "name": said["outcome"]}
    return price(
        meter,
        draw(TERMS),
        price_id=draw(st.integers(1, 10**6)),
        model=draw(NAMES),
        valid_from=AT + since * WINDOW,
        valid_to=AT + (since + length) * WINDOW if length else None,
        hours=read_hours(hours) if (hours := draw(HOURS)) else None,
        project_id=draw(WHO),
        agent_id=draw(WHO),
        **ruled,
    )


@given(st.lists(any_price(), max_size=6, unique_by=lambda one: one.price_id))
def test_a_spelled_out_card_says_of_every_window_what_find_price_does(
    prices: list[CardPrice],
) -> None:
    on, key, within = card(*prices), ODD, Period(AT, AT + 16 * WINDOW)
    lines = list(spell_out(on, key, within))
    for window in windows(within):
        for meter in METERS:
            (one,) = [x for x in lines if x.meter == meter and x.since <= window < x.until]
            assert one.price == find_price(on, meter, key, window)
            assert (one.price is None) == (one.unpriced is not None)
        for meter in UNASKED_METERS:
            some = [x.price for x in lines if x.meter == meter and x.since <= window < x.until]
            assert some == [x for x in [find_price(on, meter, key, window)] if x is not None]


def test_thoughts_cost_what_output_costs_unless_the_card_says_otherwise() -> None:
    key = UsageKey("m", "t")
    base = card(price("output_visible", "8"))
    found = find_price(base, "output_reasoning", key, AT)
    assert found is not None
    assert found.meter == "output_visible"
    own = card(price("output_visible", "8"), price("output_reasoning", "2", price_id=2))
    found = find_price(own, "output_reasoning", key, AT)
    assert found is not None
    assert found.price_id == 2


def test_the_most_specific_price_applies() -> None:
    prices = card(
        price("input_uncached", "1"),
        price("input_uncached", "2", price_id=2, tier="batch"),
        price("input_uncached", "3", price_id=3, model="m"),
        price("input_uncached", "4", price_id=4, model="m", band_from=200_000),
    )
    assert find_price(prices, "input_uncached", UsageKey("x", "t"), AT).price_id == 1  # type: ignore[union-attr]
    assert find_price(prices, "input_uncached", UsageKey("x", "batch"), AT).price_id == 2  # type: ignore[union-attr]
    assert find_price(prices, "input_uncached", UsageKey("m", "batch"), AT).price_id == 3  # type: ignore[union-attr]
    long = UsageKey("m", "t", context_band=context_band(200_001))
    assert find_price(prices, "input_uncached", long, AT).price_id == 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("tokens", "band"),
    [
        *((0, 0), (1, 0), (31_999, 0), (32_000, 1), (32_001, 2), (128_000, 3), (128_001, 4)),
        *((200_000, 5), (200_001, 6), (272_000, 9), (272_001, 10), (10**9, 12)),
    ],
)
def test_a_band_begins_above_its_edge(tokens: int, band: int) -> None:
    assert context_band(tokens) == band


def test_a_card_with_rivals_or_unknown_words_is_refused() -> None:
    problems = check_card(
        [
            price("input_uncached", "1"),
            price("input_uncached", "2", price_id=2),
            price("images", "1", price_id=3),
            price("output_visible", "1", price_id=4, band_from=7),
        ]
    )
    assert len(problems) == 3


def test_a_band_from_the_first_token_rivals_no_band() -> None:
    both = [price("input_uncached", "1"), price("input_uncached", "2", price_id=2, band_from=0)]
    assert len(check_card(both)) == 1


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        *(("magic", {}), ("per_unit", {"amount": 0.1}), ("per_unit", {"amount": "-1"})),
        *(("per_unit", {"amount": "1", "per": 7}), ("per_unit", {"amount": "0.1234567"})),
    ],
)
def test_a_price_that_could_go_wrong_is_refused(kind: str, params: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        load_price(kind, params)


def test_a_price_survives_json() -> None:
    one = PerUnit(amount=Decimal("0.0000001"), per=10)
    assert '"0.0000001"' in one.model_dump_json()
    assert PerUnit.model_validate_json(one.model_dump_json()) == one


AMOUNTS = st.decimals(-(10**6), 10**6, places=12)


@given(st.lists(AMOUNTS, min_size=1, max_size=12))
def test_what_rounding_moves_is_less_than_half_a_cent_a_line(amounts: list[Decimal]) -> None:
    billed = {KEY._replace(price_id=n): Billed(1, a) for n, a in enumerate(amounts)}
    made = usage_lines(billed, "EUR")
    found = totals(made, currency="EUR")
    assert found.net == sum(line.amount for line in made)
    assert abs(found.rounding) <= Decimal("0.005") * len(made)
    assert found.exact - found.net == found.rounding


@given(AMOUNTS, AMOUNTS)
def test_an_adjustment_brings_what_was_billed_to_what_is_true(
    before: Decimal, now: Decimal
) -> None:
    made = adjustment_lines({KEY: Billed(5, now) - Billed(3, before)}, "EUR")
    assert [line.kind for line in made] == ["adjustment"]
    assert made[0].exact_amount == now - before
    assert adjustment_lines({KEY: Billed(5, now) - Billed(5, now)}, "EUR") == []


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_every_event_balances_and_its_difference_corrects_it(
    one: Decimal, two: Decimal, three: Decimal
) -> None:
    lines = [
        CostTotals(currency, line, terms, "standard", model, one, two, three)
        for line in ("usage", "suspense", "idle", "unattributed")
        for terms in ("owned", "lease", "none")
        for currency, model in (("EUR", "a"), ("USD", "a"), ("EUR", "b"))
    ]
    booked = cost_accrued(lines)
    revenue = usage_accrued([Earned("EUR", "standard", model, one) for model in ("a", "b")])
    assert not any(balance(booked).values())
    assert not any(balance(revenue).values())
    now = cost_accrued(lines[:5])
    assert merged((*booked, *difference(now, booked))) == now
    assert difference(booked, booked) == ()
    assert merged((*booked, *reversal(booked))) == ()


def test_cost_of_usage_in_suspense_is_serving_cost_of_its_own_dimension() -> None:
    one = Decimal(1)
    said = ("standard", "llama", one, one, one)
    postings = cost_accrued([CostTotals("EUR", "suspense", "owned", *said)])
    debits = {(p.account, p.dimension, p.tier, p.model) for p in postings if p.amount > 0}
    assert debits == {
        (account, "suspense", "standard", "llama") for account in ("5000", "5020", "5100")
    }
    leased = cost_accrued([CostTotals("EUR", "suspense", "lease", *said)])
    assert ("5200", "suspense") in {(p.account, p.dimension) for p in leased}


def test_the_worked_invoice_books_its_rounding() -> None:
    postings = invoice_issued(
        "acme",
        InvoiceTotals(Decimal("6.61500079"), Decimal("6.62"), Decimal("1.66")),
        Currencies("EUR", "EUR"),
    )
    assert {p.account: p.amount for p in postings} == {
        "1100": Decimal("8.28"),
        "1150": Decimal("-6.61500079"),
        "2300": Decimal("-1.66"),
        "6100": Decimal("-0.00499921"),
    }


def test_an_entry_that_does_not_balance_cannot_be_made() -> None:
    with pytest.raises(InvalidInputError, match="1 EUR left over"):
        JournalEntry("e", "usage", "k", AT, "", (Posting("1150", Decimal(1), "EUR"),))


def test_margin_and_markup_are_two_numbers_with_two_names() -> None:
    day = Margin(Decimal(562_100), Decimal(87_072), "USD")
    assert (day.gross_margin_pct, day.markup_pct) == (Decimal("84.51"), Decimal("545.56"))
    published = Margin(Decimal(562_027), Decimal(87_072), "USD")
    assert published.markup_pct == Decimal("545.47")
    assert Margin(Decimal(0), Decimal(5), "USD").gross_margin_pct is None


@given(st.lists(any_price(), max_size=6, unique_by=lambda one: one.price_id))
def test_every_price_of_a_meter_is_explained_and_the_one_that_applies_comes_first(
    prices: list[CardPrice],
) -> None:
    on, key = card(*prices), ODD
    for meter in USAGE_METERS:
        winner = find_price(on, meter, key, AT + 5 * WINDOW)
        verdicts = explain_price(on, meter, key, AT + 5 * WINDOW)
        assert [v.price for v in verdicts if v.applies] == ([winner] if winner else [])
        asked = {meter, OUTCOME, "output_visible" if meter == "output_reasoning" else meter}
        assert sorted(v.price.price_id for v in verdicts) == sorted(
            p.price_id for p in prices if p.meter in asked
        )
        assert all(v.why for v in verdicts)
        assert not winner or verdicts[0].applies


def test_who_lost_is_told_to_whom() -> None:
    on = card(
        price("output_visible", "1"),
        price("output_visible", "2", price_id=2, model="m"),
        price("output_visible", "3", price_id=3, model="n"),
        price("output_visible", "4", price_id=4, model="m", band_from=200_000),
        price("output_visible", "5", price_id=5, valid_from=AT + WINDOW),
    )
    said = [
        (v.price.price_id, v.why)
        for v in explain_price(on, "output_visible", UsageKey("m", "t"), AT)
    ]
    assert said == [
        (2, "names most of what was used"),
        (1, "price 2 names model m"),
        (3, "for model n, not m"),
        (4, "for context above 200,000 tokens"),
        (5, "valid only from 2023-11-01T00:15:00+00:00"),
    ]


@pytest.mark.parametrize(("by_token", "asked"), [("1", []), ("0", [2, 3]), (None, [2, 3])])
def test_characters_are_asked_for_where_their_tokens_cost_nothing(
    by_token: str | None, asked: list[int]
) -> None:
    prices = [price("input_characters", "2", price_id=n, model=m) for n, m in ((2, "m"), (3, None))]
    if by_token is not None:
        prices.append(price("input_uncached", by_token))
    said = explain_price(card(*prices), "input_characters", UsageKey("m", "t"), AT)
    assert [v.price.price_id for v in said if v.applies] == asked[:1]
    if not asked:
        assert {v.why for v in said} == {
            "price 1 asks for the same by its tokens, input_uncached",
        }


def test_who_pays_is_told_with_the_price() -> None:
    aborted, retried = (
        load_price("who_pays", {"outcome": outcome, "pays": pays})
        for outcome, pays in (("aborted", "house"), ("retried", "customer"))
    )
    on = card(
        price("output_visible", "1"),
        price(OUTCOME, "0", price_id=2, price=aborted, name="aborted", model="m"),
        price(OUTCOME, "0", price_id=3, price=retried, name="retried"),
        price("output_visible", "4", price_id=4, agent_id="bot"),
        price("output_visible", "5", price_id=5, project_id="lab"),
    )

    def why(*outcomes: str, **more: Any) -> list[tuple[int, str]]:
        key = UsageKey("m", "t", outcomes=outcome_bits(outcomes), **more)
        verdicts = explain_price(on, "output_visible", key, AT)
        return [(v.price.price_id, v.why) for v in verdicts]

    assert why("aborted", "retried") == [
        (2, "the house pays for it"),
        (1, "price 2 says that the house pays for what is aborted"),
        (3, "says that the customer pays, at the price that applies"),
        (4, "for agent bot, not none"),
        (5, "for project lab, not none"),
    ]
    assert why("retried", agent_id="bot", project_id="lab") == [
        (4, "names most of what was used"),
        (1, "price 4 names agent bot"),
        (2, "for attempts that were aborted only"),
        (3, "says that the customer pays, at the price that applies"),
        (5, "price 4 names agent bot"),
    ]
