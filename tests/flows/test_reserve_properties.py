"""Whatever comes in whatever order, no more is granted than there is, and all that would fit is."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.billing.reservation import Held
from ledger.domain.errors import OverBudgetError
from ledger.domain.pricing.models import load_price
from ledger.domain.pricing.outcome import OUTCOMES
from ledger.domain.pricing.rate_card import (
    BAND_EDGES,
    USAGE_METERS,
    CardPrice,
    RateCard,
    UsageKey,
    find_price,
    find_unbilled,
)
from ledger.flows.billing.reserve import release, reserve
from ledger.store.queries import Connection
from ledger.wire.extras import SAME_AS
from tests.flows.test_reserve import ask, budget
from tests.support.database import Database, empty
from tests.support.examples import at_depth
from tests.support.usage import NOW, Gate, attempt, keyed, open_books

pytestmark = pytest.mark.timeout(300)
SETTINGS = settings(max_examples=at_depth(50))
LIMIT, SMALLER_LIMIT = 300, 150
EMPTY = "budget_balance, reservation_hold, reservation_end, reservation, budget_alert"


@dataclass(slots=True)
class Model:
    """The same by lists alone: what is used, and what is held until when."""

    used: int = 0
    used_by_agent: int = 0
    held: dict[str, tuple[int, bool, int]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def fits(self, tokens: int, by_agent: bool, now: int) -> bool:
        """Whether both budgets have room for it."""
        alive = [(n, agent) for n, agent, until in self.held.values() if until > now]
        whole = self.used + sum(n for n, _ in alive) + tokens <= LIMIT
        own = self.used_by_agent + sum(n for n, agent in alive if agent) + tokens
        return whole and (not by_agent or own <= SMALLER_LIMIT)

    def use(self, tokens: int, by_agent: bool) -> None:
        """What an event adds."""
        self.used += tokens
        self.used_by_agent += tokens if by_agent else 0


events = itertools.count()
names = st.sampled_from([f"r{n}" for n in range(8)])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), names, st.integers(1, 200), st.booleans()),
        st.tuples(st.just("crash"), names, st.integers(1, 200), st.booleans()),
        st.tuples(st.just("use"), st.none() | names, st.integers(1, 30), st.booleans()),
        st.tuples(st.just("release"), names),
        st.tuples(st.just("wait"), st.integers(1, 90)),
    ),
    max_size=25,
)


@pytest.fixture
async def opened(worker: Connection) -> Connection:
    """A customer with a budget of all it uses, and one of an agent of its own."""
    await open_books(worker)
    await budget(worker, "all", period="month", amount=str(LIMIT))
    await budget(worker, "agent", period="month", amount=str(SMALLER_LIMIT), agent_id="helper")
    return worker


@SETTINGS
@given(done=steps)
async def test_any_interleaving_grants_what_fits_and_nothing_else(
    opened: Connection, database: Database, done: list[tuple[Any, ...]]
) -> None:
    await empty(database, EMPTY)
    gate, model, clock = Gate(opened), Model(), 0
    for what, *said in done:
        now = NOW + timedelta(seconds=clock)
        if what == "wait":
            clock += said[0]
        elif what == "release":
            if said[0] in model.known:
                await release(opened, customer_id="acme", reservation_id=said[0], now=now)
            model.held.pop(said[0], None)
        elif what == "use":
            await use(gate, model, f"e{next(events)}", *said)
        else:
            await offer(opened, model, what == "crash", clock, *said)
        assert await stands(opened, clock) == sums(model, clock)


async def use(gate: Gate, model: Model, event_id: str, name: str | None, n: int, by: bool) -> None:
    agent = {"id": "helper" if by else "other"}
    sent = attempt(event_id, tokens=n, agent=agent)
    if name is not None:
        sent["data"]["reservation_id"] = name
    await gate.send(keyed(sent))
    model.use(3 * n, by)
    if name in model.known:
        model.held.pop(str(name), None)


async def offer(
    connection: Connection, model: Model, crashes: bool, clock: int, name: str, n: int, by: bool
) -> None:
    now = NOW + timedelta(seconds=clock)
    asked = ask(name, n, agent_id="helper" if by else "other", expires_in_s=60)
    transaction = connection.transaction()
    await transaction.start()
    (answer,) = await reserve(connection, [asked], now=now)
    if name not in model.known:
        fits = model.fits(n, by, clock)
        assert isinstance(answer, Held if fits else OverBudgetError)
    if crashes:
        await transaction.rollback()
        return
    await transaction.commit()
    if isinstance(answer, Held) and name not in model.known:
        model.known.add(name)
        model.held[name] = (n, by, clock + 60)


async def stands(connection: Connection, clock: int) -> dict[str, tuple[int, int]]:
    """Used and held of each budget, what expired left out."""
    rows = await connection.fetch(
        """SELECT b.budget_id, b.used,
                  b.held - coalesce(sum(h.amount) FILTER (WHERE h.expires_at <= $1), 0) AS held
             FROM budget_balance b
             LEFT JOIN reservation_hold h USING (budget_id, run_id, period_start)
            GROUP BY b.budget_id, b.used, b.held""",
        NOW + timedelta(seconds=clock),
    )
    found = {row["budget_id"]: (int(row["used"]), int(row["held"])) for row in rows}
    return {name: found.get(name, (0, 0)) for name in ("all", "agent")}


def sums(model: Model, clock: int) -> dict[str, tuple[int, int]]:
    alive = [(n, by) for n, by, until in model.held.values() if until > clock]
    return {
        "all": (model.used, sum(n for n, _ in alive)),
        "agent": (model.used_by_agent, sum(n for n, by in alive if by)),
    }


def match_of(price: tuple[Any, ...]) -> tuple[Any, ...]:
    """What no two prices of a card may have in common: from the first token on is no band."""
    return (*price[:5], price[5] or 0, *price[6:8])


some = st.sampled_from([None, "a", "b"])
entered = st.lists(
    st.tuples(
        st.sampled_from([*USAGE_METERS, *4 * ([*SAME_AS, *SAME_AS.values()])]),
        st.sampled_from([None, "a", "b", "a*", "*"]),
        some,
        some,
        some,
        st.sampled_from([None, *BAND_EDGES]),
        st.sampled_from([None, "lab"]),
        st.sampled_from([None, "bot"]),
        st.one_of(st.just(0), st.integers(0, 999)),
    ),
    max_size=12,
    unique_by=match_of,
)
rules = st.lists(
    st.tuples(
        st.sampled_from(OUTCOMES[:2]),
        st.sampled_from(["customer", "house"]),
        st.sampled_from([None, "a", "a*", "*"]),
        some,
        st.sampled_from([None, "lab"]),
        st.sampled_from([None, "bot"]),
    ),
    max_size=6,
    unique_by=lambda rule: (rule[0], *rule[2:]),
)
keys = st.builds(
    UsageKey,
    st.sampled_from(["a", "b", "c", "ab"]),
    st.sampled_from("abc"),
    st.sampled_from(["", "a"]),
    st.sampled_from(["", "b"]),
    st.integers(0, len(BAND_EDGES) - 1),
    st.sampled_from(["", "lab"]),
    st.sampled_from(["", "bot"]),
    st.integers(0, 3),
)


@SETTINGS
@given(offered=entered, key=keys)
async def test_the_database_finds_the_price_that_rating_finds(
    opened: Connection, database: Database, offered: list[tuple[Any, ...]], key: UsageKey
) -> None:
    await empty(database, "rate_card")
    await opened.execute("INSERT INTO rate_card VALUES ('card', 'factory', 'List', 'EUR', 1)")
    prices = []
    key = replace(key, outcomes=0)
    for meter, model, tier, adapter, region, band, project, agent, amount in offered:
        params = {"amount": str(amount), "per": 1_000_000}
        price_id = await opened.fetchval(
            """INSERT INTO rate_card_price (rate_card_id, meter, model, tier, adapter, region,
                                            band_from, project_id, agent_id, kind, params,
                                            valid, recorded)
               VALUES ('card', $1, $2, $3, $4, $5, $6, $7, $8, 'per_unit', $9,
                       '[2026-01-01 00:00Z,)', '[1,)')
               RETURNING price_id""",
            *(meter, model, tier, adapter, region, band, project, agent, params),
        )
        stored = load_price("per_unit", params)
        prices.append(
            CardPrice(
                *(price_id, meter, model, tier, adapter, region, band, stored, NOW, None),
                project_id=project,
                agent_id=agent,
            )
        )
    card = RateCard("card", "EUR", prices)
    for meter in USAGE_METERS:
        found = await opened.fetchval(
            """SELECT each_amount FROM unit_amounts(
                 'card', $2, $3, $4, $5, $8, $9, ARRAY[(context_edges())[$6]], $7)
               WHERE meter = $1""",
            *(meter, key.model, key.tier, key.adapter, key.region, key.context_band + 1, NOW),
            *(key.project_id, key.agent_id),
        )
        if found is None and meter == "output_reasoning":
            continue
        rated = find_price(card, meter, key, NOW)
        assert found == (None if rated is None else rated.price.each_amount)


@SETTINGS
@given(offered=rules, key=keys)
async def test_the_database_finds_who_pays_as_rating_does(
    opened: Connection, database: Database, offered: list[tuple[Any, ...]], key: UsageKey
) -> None:
    await empty(database, "rate_card")
    await opened.execute("INSERT INTO rate_card VALUES ('card', 'factory', 'List', 'EUR', 1)")
    prices = []
    for outcome, pays, model, tier, project, agent in offered:
        params = {"outcome": outcome, "pays": pays}
        price_id = await opened.fetchval(
            """INSERT INTO rate_card_price (rate_card_id, meter, name, model, tier, project_id,
                                            agent_id, kind, params, valid, recorded)
               VALUES ('card', 'outcome', $1, $2, $3, $4, $5, 'who_pays', $6,
                       '[2026-01-01 00:00Z,)', '[1,)')
               RETURNING price_id""",
            *(outcome, model, tier, project, agent, params),
        )
        stored = load_price("who_pays", params)
        prices.append(
            CardPrice(
                *(price_id, "outcome", model, tier, None, None, None, stored, NOW, None),
                name=outcome,
                project_id=project,
                agent_id=agent,
            )
        )
    found = await opened.fetchval(
        """SELECT house_pays('card', (0, NULL, 'acme', 'acme', $1, '', $2, $3, $4, $5, $6, 0,
                                      $7)::usage_key, $8)""",
        *(key.project_id, key.agent_id, key.tier, key.model, key.adapter, key.region),
        *(key.outcomes, NOW),
    )
    rated = find_unbilled(RateCard("card", "EUR", prices), key, NOW)
    assert found == (rated is not None)


async def test_the_bands_are_those_of_rating(worker: Connection) -> None:
    assert await worker.fetchval("SELECT context_edges()") == list(BAND_EDGES)
