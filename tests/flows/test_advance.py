"""Fees that are paid in advance: asked for with the period before, earned by the second."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.period import DAY
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.billing.issue import IssueRules
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_rate_card, enter_subscription
from ledger.store.billing.invoice import list_lines
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.price_inputs import NewPrice, NewRateCard
from tests.flows.billing import AUTHOR, DECEMBER, JANUARY, NOVEMBER, balance_of
from tests.flows.test_families import family, of, parent
from tests.flows.test_period_prices import FEE, SINCE, agree, enter, priced
from tests.support.books import Tokens

IN_ADVANCE: dict[str, Any] = {**FEE, "billed": "advance"}


async def issued(
    connection: Connection,
    at: datetime,
    now: datetime,
    *,
    again: bool = False,
    name: str = "sub-acme",
) -> list[tuple[str, str, str]]:
    """Kind, days and exact amount of the lines of a period's invoice."""
    await rate(connection, now=now)
    await book_revenue(connection, now=now)
    one = await issue_invoice(
        connection,
        subscription_id=name,
        moment=at,
        now=now,
        author=AUTHOR,
        allow=IssueRules(supplementary=again),
    )
    await agree(connection)
    return [
        (each.kind, f"{each.key.service_start:%m-%d}", f"{each.exact_amount.normalize():f}")
        for each in await list_lines(connection, invoice_id=one.invoice_id)
    ]


async def subscribe(connection: Connection, *, replace: bool = True, **more: Any) -> None:
    said = {"subscription_id": "sub-acme", "customer_id": "acme", "rate_card_id": "card-acme"}
    new = read_input(NewSubscription, said | more)
    await enter_subscription(connection, new, AUTHOR, replace=replace)


async def test_a_fee_is_asked_for_before_its_period_and_once(worker: Connection) -> None:
    books = await priced(worker, IN_ADVANCE, since=NOVEMBER + 15 * DAY)
    await books.usage(NOVEMBER + 20 * DAY, Tokens(uncached=1_000_000))
    # Half of November was used before anybody was invoiced: it is billed by what it came to.
    assert await issued(worker, NOVEMBER + 20 * DAY, DECEMBER + DAY) == [
        ("usage", "11-16", "5"),
        ("usage", "11-16", "150"),
        ("advance", "12-01", "300"),
    ]
    # December's fee was invoiced before it was earned, all but of the days that have begun: so much
    # is owed, and what is unbilled is never below nothing.
    assert -300 < await balance_of(worker, "2250") < -270
    assert await balance_of(worker, "1150") == 0
    assert await issued(worker, DECEMBER, JANUARY) == [
        ("usage", "12-01", "300"),
        ("advance", "12-01", "-300"),
        ("advance", "01-01", "300"),
    ]
    assert -300 <= await balance_of(worker, "2250") < -270
    assert await balance_of(worker, "1150") == 0


async def test_what_is_owed_of_a_fee_is_earned_day_by_day(worker: Connection) -> None:
    other = FEE | {"name": "Other", "amount": "31"}
    await priced(worker, IN_ADVANCE, other, since=NOVEMBER)
    await issued(worker, NOVEMBER, DECEMBER)
    for day in (5, 20, 31):
        await rate(worker, now=DECEMBER + (day - 1) * DAY)
        await book_revenue(worker, now=DECEMBER + (day - 1) * DAY)
        # The day that has begun counts as a whole.
        assert round(await balance_of(worker, "2250"), 9) == round(
            Decimal(300 * (day - 31)) / 31, 9
        )
        assert await balance_of(worker, "1150") == day
        await agree(worker)


async def test_an_early_end_gives_back_what_was_not_used(worker: Connection) -> None:
    await priced(worker, IN_ADVANCE, since=NOVEMBER)
    assert ("advance", "12-01", "300") in await issued(worker, NOVEMBER, DECEMBER)
    end = DECEMBER + timedelta(days=15, hours=12)
    whole = {"rate_card_id": "empty", "entity_id": "factory", "name": "Empty", "currency": "USD"}
    await enter_rate_card(worker, read_input(NewRateCard, whole), AUTHOR)
    await subscribe(worker, valid_from=end.isoformat(), rate_card_id="empty")
    assert await issued(worker, DECEMBER, JANUARY) == [
        ("usage", "12-01", "150"),
        ("advance", "12-01", "-300"),
    ]
    gives_back = "SELECT payable FROM invoice ORDER BY invoice_id DESC LIMIT 1"
    assert await worker.fetchval(gives_back) == -150
    assert await balance_of(worker, "2250") == 0


async def test_what_changes_before_it_begins_is_billed_by_a_supplementary_invoice(
    worker: Connection,
) -> None:
    await priced(worker)
    await enter(worker, **IN_ADVANCE, valid_to=JANUARY.isoformat())
    assert ("advance", "12-01", "300") in await issued(worker, NOVEMBER, DECEMBER)
    since, until = DECEMBER.isoformat(), JANUARY.isoformat()
    cheaper = IN_ADVANCE | {"amount": "31", "valid_from": since, "valid_to": until}
    await enter(worker, **cheaper, replace=True)
    assert await issued(worker, NOVEMBER, DECEMBER + DAY, again=True) == [
        ("advance", "12-01", "-300"),
        ("advance", "12-01", "31"),
    ]
    assert await issued(worker, DECEMBER, JANUARY) == [
        ("usage", "12-01", "31"),
        ("advance", "12-01", "-31"),
    ]


async def test_what_never_begins_is_given_back(worker: Connection) -> None:
    await priced(worker, IN_ADVANCE | {"valid_from": NOVEMBER.isoformat()})
    assert ("advance", "12-01", "300") in await issued(worker, NOVEMBER, DECEMBER)
    whole = {"rate_card_id": "empty", "entity_id": "factory", "name": "Empty", "currency": "USD"}
    await enter_rate_card(worker, read_input(NewRateCard, whole), AUTHOR)
    await subscribe(worker, valid_from=DECEMBER.isoformat(), rate_card_id="empty")
    back = await issued(worker, NOVEMBER, DECEMBER + DAY, again=True)
    assert back == [("advance", "12-01", "-300")]
    assert await balance_of(worker, "1150") == 0
    assert await balance_of(worker, "2250") == 0


async def test_a_void_invoice_asked_for_nothing_in_advance(worker: Connection) -> None:
    await priced(worker, IN_ADVANCE)
    first = await issued(worker, NOVEMBER, DECEMBER)
    assert ("advance", "12-01", "300") in first
    named = await worker.fetchval("SELECT number FROM invoice")
    await credit_invoice(
        worker, named=named, lines=None, now=DECEMBER + DAY, author=AUTHOR, void=True
    )
    await agree(worker)
    # December begins with nothing of it paid for: its own invoice bills what it came to, once.
    assert await issued(worker, DECEMBER, JANUARY) == [
        ("usage", "12-01", "300"),
        ("advance", "01-01", "300"),
    ]


async def test_a_void_invoice_issued_again_asks_again(worker: Connection) -> None:
    await priced(worker, IN_ADVANCE)
    first = await issued(worker, NOVEMBER, DECEMBER)
    named = await worker.fetchval("SELECT number FROM invoice")
    await credit_invoice(
        worker, named=named, lines=None, now=DECEMBER + DAY, author=AUTHOR, void=True
    )
    assert await issued(worker, NOVEMBER, DECEMBER + 2 * DAY) == first
    assert await issued(worker, DECEMBER, JANUARY) == [
        ("usage", "12-01", "300"),
        ("advance", "12-01", "-300"),
        ("advance", "01-01", "300"),
    ]


async def test_each_subscription_asks_for_its_own_fee(worker: Connection) -> None:
    await priced(worker, IN_ADVANCE)
    fee = {**IN_ADVANCE, "amount": "70", "valid_from": SINCE}
    card = {"rate_card_id": "other", "entity_id": "factory", "name": "Other", "currency": "USD"}
    await enter_rate_card(worker, read_input(NewRateCard, card | {"prices": [fee]}), AUTHOR)
    await subscribe(worker, valid_from=SINCE, models=["llama"])
    second = {"subscription_id": "sub-other", "rate_card_id": "other", "models": ["qwen*"]}
    await subscribe(worker, replace=False, valid_from=SINCE, **second)
    for name, amount in (("sub-acme", "300"), ("sub-other", "70")):
        lines = await issued(worker, NOVEMBER, DECEMBER, name=name)
        assert [line for line in lines if line[0] == "advance"] == [("advance", "12-01", amount)]
    for name, amount in (("sub-acme", "300"), ("sub-other", "70")):
        assert await issued(worker, DECEMBER, JANUARY, name=name) == [
            ("usage", "12-01", amount),
            ("advance", "12-01", f"-{amount}"),
            ("advance", "01-01", amount),
        ]


async def test_a_parent_is_asked_for_its_own_fee_once(worker: Connection) -> None:
    books = await family(worker, "lab")
    await enter(worker, **IN_ADVANCE)
    await parent(worker, "lab")
    await books.usage(NOVEMBER, Tokens(uncached=1_000_000), buyer=of("lab"))
    assert await issued(worker, NOVEMBER, DECEMBER) == [
        ("usage", "11-01", "300"),
        ("usage", "11-01", "5"),
        ("advance", "12-01", "300"),
    ]


async def test_who_somebody_else_pays_for_to_come_is_asked_for_nothing(worker: Connection) -> None:
    await family(worker, "lab")
    await enter(worker, **IN_ADVANCE)
    own = {"subscription_id": "sub-lab", "customer_id": "lab", "valid_from": SINCE}
    await subscribe(worker, replace=False, **own)
    move = DECEMBER + timedelta(days=15, hours=12)
    assert ("advance", "12-01", "300") in await issued(worker, NOVEMBER, DECEMBER, name="sub-lab")
    await parent(worker, "lab", valid_from=move.isoformat())
    # Half of what was asked for is never earned; of what comes behind it nothing is asked for.
    assert await issued(worker, NOVEMBER, DECEMBER + DAY, again=True, name="sub-lab") == [
        ("advance", "12-01", "-150"),
    ]
    assert await issued(worker, DECEMBER, JANUARY, name="sub-lab") == [
        ("usage", "12-01", "150"),
        ("advance", "12-01", "-150"),
    ]
    assert await balance_of(worker, "1150") == 0


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"billed": "later"}, "billed: found"),
        ({"meter": "input", "kind": "per_unit", "every": None, "name": None}, "leave it out with"),
        ({"meter": "commitment", "kind": "commitment"}, "leave it out with kind commitment"),
    ],
)
def test_only_fees_are_billed_in_advance(said: dict[str, Any], wrong: str) -> None:
    whole = {"rate_card_id": "c", "valid_from": SINCE} | IN_ADVANCE | said
    with pytest.raises(InputError, match=wrong):
        read_input(NewPrice, {name: value for name, value in whole.items() if value is not None})
