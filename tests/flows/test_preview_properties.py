"""Whatever is entered, wherever it reaches and whatever is due: what its preview says is what the
stages book once it is entered, to the last digit; and the preview itself leaves no row."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.author import Author
from ledger.domain.books.moved import Moved
from ledger.domain.errors import ConflictError
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.books.check_books import check_books
from ledger.flows.books.close_month import close_month
from ledger.flows.preview import Change, Preview, preview_change
from ledger.flows.reference.end import end_entered
from ledger.flows.reference.resources import BY_WORD
from ledger.flows.settle import settle
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.wire.ask_inputs import EndAsk
from ledger.wire.inputs import read_input
from tests.flows.billing import AUTHOR, subscribed
from tests.flows.test_preview import digests
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import Database, fresh_database

START = datetime(2023, 11, 30, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 4
END = START + HOURS * HOUR
LAST = datetime(2024, 1, 2, tzinfo=UTC)
BUYERS = (Buyer(), Buyer(customer_id="zoe", customer_ref="zoe", project_id="p"))
SINCE = "2023-01-01T00:00:00Z"
TERM = {"valid_from": START.isoformat(), "valid_to": END.isoformat()}
# An entity's month, account and currency; or a customer's month.
Sums = dict[tuple[str, ...], Decimal]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is learnt, or entered after its preview."""

    what: str
    hour: int
    amount: int


KINDS = (
    *("price", "end", "subscription", "asset", "tariff price", "PUE", "weight set", "deployment"),
    *("energy meter", "site cost", "idle policy"),
)
steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(("usage", "readings", "close", "utility bill", *KINDS, *KINDS)),
        hour=st.integers(0, HOURS - 1),
        amount=st.integers(1, 9),
    ),
    min_size=4,
    max_size=7,
)


async def opened(connection: Connection) -> Books:
    """Two customers and a leased GPU at work around the end of a month."""
    books = await subscribed(connection)
    await books.customer("zoe", "factory")
    said = {"subscription_id": "sub-zoe", "customer_id": "zoe", "rate_card_id": "card-acme"}
    tiers = [{"start": 0, "end": 5_000, "amount": "9"}, {"start": 5_000, "amount": "4"}]
    by_tier = {"meter": "input", "kind": "graduated", "tiers": tiers, "valid_from": SINCE}
    cost = {"meter": "cost", "kind": "cost_plus", "markup": "20", "valid_from": SINCE}
    tiered = {"rate_card_id": "tiered", "entity_id": "factory", "name": "T", "currency": "USD"}
    await entered("rate card", tiered | {"prices": [by_tier, cost]})(connection, AUTHOR)
    await entered("subscription", said | {"valid_from": SINCE})(connection, AUTHOR)
    await books.facility("site", "factory")
    await books.lease(START, END, rate="2", all_in=False, currency="USD")
    await books.pue(START, END)
    await books.tariff([(START, END, "100")], currency="USD")
    await books.deployment(START, END, gpus=["GPU-1"])
    for hour in range(HOURS):
        await learn(books, Step("usage", hour, 3))
        await learn(books, Step("readings", hour, 5))
    return books


async def learn(books: Books, step: Step) -> None:
    at = START + step.hour * HOUR
    if step.what == "usage":
        for number, buyer in enumerate(BUYERS, start=1):
            tokens = Tokens(uncached=1_000 * step.amount * number, output=777)
            await books.usage(at, tokens, buyer=buyer, busy=range(300))
    elif step.what == "readings":
        base = 10**9 + step.hour * 3_600 * 400_000
        times = range(0, 3_600, 300)
        sampled = [(at + timedelta(seconds=s), base + s * 400_000) for s in times]
        await books.readings("GPU-1", sampled)
    else:
        done: dict[str, Any] = {
            "entity_id": "factory",
            "month": "2023-11",
            "author": AUTHOR,
            "now": LAST,
        }
        accept = ("parked", "unpriced", "uninvoiced", "cost-gaps", "unallocated")
        with suppress(ConflictError):
            await close_month(books.connection, accept=accept, **done)


def entered(noun: str, said: dict[str, Any], **how: bool) -> Change:
    resource = BY_WORD[noun.lower()]
    assert resource.model is not None
    assert resource.enter is not None
    new, enter = read_input(resource.model, said), partial(resource.enter, **how)

    async def work(connection: Connection, author: Author) -> object:
        return await enter(connection, new, author)

    return work


def change_of(step: Step, number: int) -> Change:
    """What a step enters, wherever it is entered."""
    at, amount = START + step.hour * HOUR, str(step.amount)
    if step.what == "end":
        said = {"kind": "prices", "id": "card-acme", "of": {"meter": "output"}}
        asked = read_input(EndAsk, said | {"valid_from": at.isoformat()})
        return lambda connection, author: end_entered(connection, asked, author)
    lease = {"terms": "lease", "gpu_count": 1, "currency": "USD", "gpu_hour_rate": amount}
    priced = {"start": at.isoformat(), "resolution_minutes": 60, "price_per_mwh": f"1{amount}0"}
    weighed = {"weight_set_id": f"w{number}", "version": number + 2, "uncached": step.amount}
    billed = {"first_day": "2023-11-30", "last_day": "2023-11-30", "kwh": "1", "currency": "USD"}
    told: dict[str, dict[str, Any]] = {
        "price": {
            **{"rate_card_id": "card-acme", "meter": "input", "amount": amount},
            "valid_from": at.isoformat(),
        },
        "asset": {
            **{"asset_id": "rack", "entity_id": "factory", "facility_id": "site", "name": "rack"},
            **(lease | TERM),
        },
        "tariff price": {"tariff_id": "power", "prices": [priced]},
        "PUE": {"facility_id": "site", "pue": f"1.{amount}", **TERM},
        "weight set": {
            **{"deployment_id": "chat", "cache_read": 0, "cache_write": 0, "output": 7},
            **(weighed | TERM),
        },
        "site cost": {
            **{"facility_id": "site", "name": "staff", "currency": "USD"},
            **{"standing": {"amount": amount, "per": "hour"}, **TERM},
        },
        "idle policy": {"entity_id": "factory", "version": number + 1, "method": "use", **TERM},
        "subscription": {
            **{"subscription_id": "sub-zoe", "customer_id": "zoe", "rate_card_id": "tiered"},
            "valid_from": at.isoformat(),
        },
        "deployment": {
            **{"deployment_id": "chat", "asset_id": "rack", "model": "llama"},
            **{"gpu_uuids": ["GPU-1"], "slot_s": 60, "idle_mw_per_gpu": 1_000 * step.amount},
            **({"tier": "premium"} if step.amount > 6 else {}),
            **TERM,
        },
        "energy meter": {
            **{"meter": "GPU-1", "facility_id": "site", "gain": f"1.{amount}"},
            **{"measures": "gpu", **TERM},
        },
        "utility bill": {
            **{"bill_id": f"b{number}", "facility_id": "site", "amount": amount},
            **billed,
        },
    }
    return entered(step.what, told[step.what], replace=True)


async def booked(connection: Connection) -> Sums:
    """What is booked of each month by account and dimension, and charged by customer."""
    accounts = await connection.fetch(
        """SELECT to_char(coalesce(e.corrects, e.booked_for), 'YYYY-MM'), p.account, p.dimension,
                  p.currency, sum(p.amount)
             FROM journal_entry e JOIN posting p USING (entry_id) GROUP BY 1, 2, 3, 4"""
    )
    customers = await connection.fetch(
        """SELECT to_char(day_start, 'YYYY-MM'), customer_id, currency, sum(amount)
             FROM charge WHERE amount IS NOT NULL GROUP BY 1, 2, 3"""
    )
    costs = await connection.fetch(
        """SELECT to_char(l.day_start, 'YYYY-MM'), l.line, coalesce(k.customer_id, ''), l.currency,
                  sum(l.device_cost), sum(l.gpu_cost), sum(l.overhead_cost)
             FROM cost_day_line l LEFT JOIN usage_key k USING (usage_key_id)
            GROUP BY 1, 2, 3, 4"""
    )
    kinds = ("electricity", "hardware", "overhead")
    by_kind = [
        (*tuple(row)[:4], kind, cost)
        for row in costs
        for kind, cost in zip(kinds, tuple(row)[4:], strict=True)
    ]
    rows = [*map(tuple, (*accounts, *customers)), *by_kind]
    return {row[:-1]: row[-1] for row in rows}


def told_by(seen: Preview) -> tuple[Sums, Sums]:
    """What a preview says is booked by now of what it names, and what moves."""
    places: list[tuple[tuple[str, ...], Moved]] = [
        *(((e.month, e.account, e.dimension, e.currency), e) for e in seen.accounts),
        *(((e.month, e.customer_id, e.currency), e) for e in seen.charges),
        *(((e.month, e.line, e.customer, e.currency, e.kind), e) for e in seen.costs),
    ]
    return {place: e.before for place, e in places}, {place: e.difference for place, e in places}


async def enter_after_preview(worker: Connection, superuser: Connection, change: Change) -> None:
    left = await digests(superuser)
    seen: Preview | ConflictError
    try:
        seen = await preview_change(worker, change, AUTHOR, now=LAST)
    except ConflictError as error:
        seen = error
    assert await digests(superuser) == left
    if isinstance(seen, ConflictError):
        with pytest.raises(ConflictError, match=re.escape(str(seen))):
            await change(worker, AUTHOR)
        return
    assert seen.undone == []
    await settle(worker, now=LAST)
    before = await booked(worker)
    await change(worker, AUTHOR)
    await settle(worker, now=LAST)
    after = await booked(worker)
    standing, moves = told_by(seen)
    zero = Decimal(0)
    really = {key: after.get(key, zero) - before.get(key, zero) for key in {*before, *after}}
    assert moves == {key: by for key, by in really.items() if by}
    assert {key: before.get(key, zero) for key in standing} == standing


async def tell(database: Database, told: Sequence[Step]) -> None:
    worker, superuser = await connect(database.worker_url), await connect(database.superuser_url)
    try:
        books = await opened(worker)
        for number, step in enumerate(told):
            if step.what in {"usage", "readings", "close"}:
                await learn(books, step)
            else:
                await enter_after_preview(worker, superuser, change_of(step, number))
        assert (await check_books(worker)).differences == []
    finally:
        await worker.close()
        await superuser.close()


@settings(max_examples=5)
@given(told=steps)
def test_what_a_preview_says_is_what_is_booked_and_it_leaves_no_row(
    server: EmbeddedServer, template: str, told: list[Step]
) -> None:
    with fresh_database(server, template) as one:
        asyncio.run(tell(one, told))
