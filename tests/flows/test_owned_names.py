"""Ids and places that a key bound to customers claims are its own: they take nobody else's."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.metering.record import Record
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.flows.test_correction_sets import Fact, deliver
from tests.flows.test_ingest_properties import tokens_by_customer
from tests.support.database import Database
from tests.support.examples import at_depth
from tests.support.usage import (
    SOURCE,
    Gate,
    add_customer,
    attempt,
    bound_to,
    keyed,
    open_books,
    sequenced,
    windows,
    windows_of_facts,
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def opened(worker: Connection) -> Connection:
    await open_books(worker)
    await add_customer(worker, "beta")
    return worker


def truth(sent: Sequence[Fact]) -> dict[str, int]:
    """Tokens by customer, of originals and the corrections of those who may correct them."""
    sums = {"acme": 0, "beta": 0}
    originals = [one for one in sent if one.of is None and not one.reading]
    gone = set[int]()
    for n, one in enumerate(originals):
        equal = (replace(other, owner=one.owner) == one for other in originals[:n])
        if any(equal):
            gone.add(n)
    for one in (each for each in sent if each.of is not None):
        named = [n for n, first in enumerate(originals) if first.name == one.of]
        if one.owner is None:
            house = [n for n in named if originals[n].owner is None]
            gone.update(house or named)
        else:
            gone.update(n for n in named if originals[n].customer == one.owner)
        sums[one.customer] += one.tokens
    for n, one in enumerate(originals):
        sums[one.customer] += 0 if n in gone else one.tokens
    return {customer: tokens for customer, tokens in sums.items() if tokens}


HOUSE = Fact("x", 5_000, "beta")
OF_ACME = Fact("x", 10, "acme", owner="acme")
OF_BETA = Fact("x", 7, "beta", owner="beta")
SETS = {
    "an id of everybody": [HOUSE, OF_ACME, OF_BETA],
    "an id of the house for the same customer": [Fact("x", 5_000, "acme"), OF_ACME],
    "an id that a reading has": [Fact("x", reading=True, owner="acme"), HOUSE, OF_BETA],
    "an id of a correction": [
        Fact("x", 10, "acme", of="y", revision=1, owner="acme"),
        HOUSE,
        Fact("y", 3, "acme"),
    ],
    "the same event twice": [OF_ACME, replace(OF_ACME, owner=None), OF_BETA],
    "the house corrects its own": [HOUSE, OF_ACME, Fact("c", 9, "beta", of="x", revision=1)],
    "the house corrects what is another's": [OF_ACME, Fact("c", 9, "acme", of="x", revision=1)],
    "each corrects its own": [
        HOUSE,
        OF_ACME,
        Fact("c", 4_000, "beta", of="x", revision=1),
        Fact("a", 11, "acme", of="x", revision=1, owner="acme"),
    ],
    "a place of everybody": [
        Fact((1, 0), 5_000, "beta"),
        Fact((1, 0), 10, "acme", owner="acme"),
        Fact((1, 0), 7, "beta", owner="beta"),
    ],
    "the same batch twice": [
        Fact((1, 0), 10, "acme", owner="acme"),
        Fact((1, 0), 10, "acme"),
        Fact((1, 0), 7, "beta", owner="beta"),
    ],
    "each corrects its own place": [
        Fact((1, 0), 5_000, "beta"),
        Fact((1, 0), 10, "acme", owner="acme"),
        Fact((2, 0), 4_000, "beta", of=(1, 0), revision=1),
        Fact((3, 0), 11, "acme", of=(1, 0), revision=1, owner="acme"),
    ],
}


def overtaken(order: Sequence[Fact]) -> bool:
    """Whether a correction came before its own original, and another's of that name as well.

    It is refused or takes the other's then, for good: its own was not there yet.
    """
    for n, one in enumerate(order):
        own = [i for i, f in enumerate(order) if (f.name, f.owner) == (one.of, one.owner)]
        if own and n < own[0] and any(f.name == one.of for f in order[: own[0]]):
            return True
    return False


@pytest.mark.parametrize("sent", SETS.values(), ids=SETS.keys())
async def test_nobody_takes_a_name_of_another(
    opened: Connection, database: Database, sent: list[Fact]
) -> None:
    orders = [list(order) for order in permutations(sent) if not overtaken(order)]
    for order in orders:
        for calls in ([order], [[one] for one in [*order, *order]]):
            found = await deliver(opened, database, calls)
            assert tokens_by_customer(found[0]) == truth(sent), order


@st.composite
def claims(draw: st.DrawFn) -> list[Fact]:
    """Events of the house and of two customers' keys under few names, at most one each."""
    numbered = draw(st.booleans())
    names = [(1, 0), (2, 0)] if numbered else ["x", "y"]
    senders = [(name, owner) for name in names for owner in (None, "acme", "beta")]
    found = []
    for name, owner in draw(st.lists(st.sampled_from(senders), unique=True, min_size=2)):
        customer = owner or draw(st.sampled_from(["acme", "beta"]))
        # Few numbers, so that the house and a customer's key often say the same.
        found.append(Fact(name, draw(st.integers(1, 2)), customer, owner=owner))
    return found


@settings(max_examples=at_depth(15))
@given(data=st.data())
async def test_any_names_in_any_order_and_batches(
    opened: Connection, database: Database, data: st.DataObject
) -> None:
    sent = data.draw(claims())
    calls: list[list[Fact]] = [[]]
    for one in data.draw(st.permutations([*sent, *sent])):
        calls[-1].append(one)
        if data.draw(st.booleans()):
            calls.append([])
    found = await deliver(opened, database, [call for call in calls if call])
    assert tokens_by_customer(found[0]) == truth(sent)


async def test_a_changed_event_of_the_same_key_is_a_conflict(opened: Connection) -> None:
    gate = Gate(opened)
    changed = replace(OF_ACME, tokens=11)
    sent = [one.record() for one in (HOUSE, OF_ACME, changed, OF_ACME, HOUSE)]
    together = [*("created", "created", "conflict", "duplicate", "duplicate")]
    assert await gate.outcomes(*sent) == together
    assert [await gate.outcomes(one) for one in sent[1:]] == [
        ["duplicate"],
        ["conflict"],
        ["duplicate"],
        ["duplicate"],
    ]


async def test_at_the_same_time_each_counts_and_equal_ones_once(
    opened: Connection, database: Database
) -> None:
    bound = bound_to([SOURCE, "/hosts/a"], "acme")
    other = await connect(database.worker_url)
    try:
        gates = [Gate(opened), Gate(other)]
        for n in range(1, 21):
            theirs = attempt(f"e{n}", tokens=1)
            ours = theirs if n % 2 else attempt(f"e{n}", tokens=100)
            batch = [attempt(tokens=1)], [attempt(tokens=1 if n % 2 else 100)]
            pairs: list[tuple[Record, Record]] = [
                (replace(keyed(theirs), permission=bound), keyed(ours)),
                (
                    replace(sequenced(batch[0], sequence=n), permission=bound),
                    sequenced(batch[1], sequence=n),
                ),
            ]
            for pair in pairs:
                found = await asyncio.gather(
                    *(gate.outcomes(one) for gate, one in zip(gates, pair, strict=True))
                )
                said = sorted(outcome for (outcome,) in found)
                assert said == (["created", "duplicate"] if n % 2 else ["created", "created"])
    finally:
        await other.close()
    assert await windows_of_facts(opened) == await windows(opened)
    assert sum(row[6] for row in await windows(opened)) == 2 * (10 * 101 + 10)
