"""What counts, and what becomes of the rest, is a function of the set of what came: any order, any
batches, whoever sends it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.metering.record import Record
from ledger.store.queries import Connection
from tests.flows.test_ingest_properties import EMPTY, books, tokens_by_customer
from tests.support.database import Database, empty
from tests.support.examples import at_depth
from tests.support.usage import (
    SOURCE,
    Event,
    Gate,
    add_customer,
    attempt,
    bound_to,
    correction,
    keyed,
    open_books,
    sequenced,
    windows_of_facts,
)
from tests.wire.samples import energy_event

pytestmark = pytest.mark.timeout(300)
NOBODY = "/nobody"
SOURCES = frozenset({SOURCE, "/hosts/a", NOBODY})
# A name of a keyed event is its id, of a numbered one its batch and ordinal.
Name = str | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is sent; `of` is what it corrects, `owner` to whom its key is bound."""

    name: Name
    tokens: int = 0
    customer: str = "acme"
    of: Name | None = None
    revision: int = 0
    owner: str | None = None
    reading: bool = False

    def event(self) -> Event:
        """As it is written."""
        event_id = self.name if isinstance(self.name, str) else ""
        if self.reading:
            return energy_event() | {"id": event_id, "source": SOURCE}
        said: Event = {
            "tokens": self.tokens,
            "minute": self.tokens % 60,
            "customer_id": self.customer,
        }
        if self.of is None:
            return attempt(event_id, **said)
        of, other = written(self.of), {}
        if of.startswith("nobody"):
            other = {"supersedes_source": NOBODY}
        return correction(event_id, of=of, revision=self.revision, **said, **other)

    def record(self) -> Record:
        """It alone, by the key that sends it."""
        bound = bound_to(SOURCES, *([self.owner] if self.owner else []))
        event = self.event()
        if isinstance(self.name, str):
            return replace(keyed(event), permission=bound)
        batch, _ = self.name
        return replace(sequenced([event], sequence=batch), permission=bound)


def written(name: Name) -> str:
    """A name as a correction says it."""
    return name if isinstance(name, str) else f"1.{name[0]}.{name[1]}"


def truth(sent: Sequence[Fact]) -> dict[str, int]:
    """Tokens by customer, told naively from the set alone."""
    sums: dict[str, int] = {}
    by_name = {one.name: one for one in sent}
    for name in {one.name for one in sent} | {one.of for one in sent if one.of is not None}:
        corrections = [one for one in sent if one.of == name]
        first = by_name.get(name)
        if first is not None and (first.reading or first.of is not None):
            counted = []
        elif first is not None:
            house = [one for one in corrections if one.owner is None]
            own = [one for one in corrections if one.owner == first.customer]
            counted = [max(house or own or [first], key=lambda one: one.revision)]
        else:
            owners = {one.owner for one in corrections}
            counted = [
                max((c for c in corrections if c.owner == owner), key=lambda one: one.revision)
                for owner in owners
            ]
        for one in counted:
            sums[one.customer] = sums.get(one.customer, 0) + one.tokens
    return {customer: tokens for customer, tokens in sums.items() if tokens}


@pytest.fixture
async def opened(worker: Connection) -> Connection:
    await open_books(worker)
    await add_customer(worker, "beta")
    return worker


async def deliver(
    connection: Connection, database: Database, calls: Sequence[Sequence[Fact]]
) -> Any:
    """The books after these calls, which were empty before."""
    await empty(database, EMPTY)
    gate = Gate(connection)
    for call in calls:
        await gate.send(*(one.record() for one in call))
    found = await books(connection)
    assert await windows_of_facts(connection) == found[0]
    return [*found, await fates(connection)]


async def fates(connection: Connection) -> dict[str, int]:
    """How many items have each fate now, but for what repeats another."""
    (row,) = await connection.fetch(
        "SELECT sum(counted)::int AS counted, sum(superseded)::int AS superseded,"
        " sum(quarantined)::int AS quarantined, sum(suspense)::int AS suspense FROM receipt"
    )
    found = dict(row)
    changes = "SELECT from_fate, to_fate, count(*)::int AS n FROM fate_change GROUP BY 1, 2"
    for change in await connection.fetch(changes):
        found[change["from_fate"]] -= change["n"]
        found[change["to_fate"]] += change["n"]
    listed = await connection.fetchval("SELECT coalesce(sum(items), 0)::int FROM quarantine")
    assert listed == found["quarantined"], "whatever is void is listed, with its reason"
    return found


SETS = {
    "a correction of a correction": [
        Fact("a", 10),
        Fact("c1", 20, of="a", revision=1),
        Fact("c2", 110, of="c1", revision=1),
    ],
    "of itself": [Fact("a", 10), Fact("c1", 20, of="c1", revision=1)],
    "a circle": [
        Fact("c1", 1, of="c2", revision=1),
        Fact("c2", 2, of="c3", revision=1),
        Fact("c3", 4, of="c1", revision=1),
    ],
    "a chain that hangs on nothing": [
        Fact("c1", 1, of="x", revision=1),
        Fact("c2", 2, of="c1", revision=1),
        Fact("c3", 4, of="c2", revision=1),
    ],
    "places of a correction": [
        Fact((1, 0), 10),
        Fact((2, 0), 20, of=(1, 0), revision=1),
        Fact((3, 0), 110, of=(2, 0), revision=2),
    ],
    "a circle of places": [
        Fact((1, 0), 1, of=(2, 0), revision=1),
        Fact((2, 0), 2, of=(1, 0), revision=1),
    ],
    "its own place": [Fact((1, 0), 1, of=(1, 0), revision=1), Fact((2, 0), 5)],
    "a reading": [Fact("g", reading=True), Fact("c1", 9, of="g", revision=1), Fact("a", 1)],
    "another customer's usage": [
        Fact("b", 5_000, "beta"),
        Fact("c1", 1, of="b", revision=1, owner="acme"),
        Fact("c2", 4_000, "beta", of="b", revision=1, owner="beta"),
    ],
    "another customer's usage, corrected twice": [
        Fact("b", 5_000, "beta"),
        Fact("c1", 1, of="b", revision=1, owner="acme"),
        Fact("c2", 2, of="b", revision=9, owner="acme"),
    ],
    "a correction of a correction, twice": [
        Fact("a", 10),
        Fact("c1", 20, of="a", revision=1),
        Fact("c2", 110, of="c1", revision=1),
        Fact("c3", 120, of="c1", revision=2),
    ],
    "another customer's place": [
        Fact((1, 0), 5_000, "beta"),
        Fact((2, 0), 1, of=(1, 0), revision=7, owner="acme"),
    ],
    "the house has the last word": [
        Fact("a", 10, owner="acme"),
        Fact("c1", 20, of="a", revision=9, owner="acme"),
        Fact("c2", 30, "beta", of="a", revision=1),
    ],
    "a source nobody has heard of": [
        Fact("a", 10),
        Fact("c1", 20, of="nobody-1", revision=1),
        Fact("c2", 40, of="nobody-1", revision=2),
    ],
}


@pytest.mark.parametrize("sent", SETS.values(), ids=SETS.keys())
async def test_every_order_together_and_apart_gives_the_same_books(
    opened: Connection, database: Database, sent: list[Fact]
) -> None:
    plain = await deliver(opened, database, [[one] for one in sent])
    assert tokens_by_customer(plain[0]) == truth(sent)
    for order in permutations(sent):
        for calls in ([order], [order[:1], order[1:], order], [[one] for one in order]):
            assert await deliver(opened, database, [call for call in calls if call]) == plain


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    """Originals, readings, and corrections of whatever has a name, or never will."""
    numbered = draw(st.booleans())
    names: list[Name] = [(n, 0) if numbered else f"e{n}" for n in range(1, draw(st.integers(3, 7)))]
    found, taken = list[Fact](), set[tuple[Name, int, str | None]]()
    for name in names:
        customer = draw(st.sampled_from(["acme", "beta"]))
        one = Fact(name, draw(st.integers(1, 99)), customer)
        one = replace(one, owner=draw(st.sampled_from([None, None, customer])))
        kind = draw(st.integers(0, 9))
        if kind == 0 and not numbered:
            one = Fact(name, reading=True)
        elif kind > 3:
            never: Name = (99, 0) if numbered else "never"
            of, revision = draw(st.sampled_from([*names, never])), draw(st.integers(1, 3))
            if (of, revision, one.owner) not in taken:
                taken.add((of, revision, one.owner))
                one = replace(one, of=of, revision=revision)
        found.append(one)
    return found


@settings(max_examples=at_depth(15))
@given(data=st.data())
async def test_any_set_of_corrections_has_one_outcome(
    opened: Connection, database: Database, data: st.DataObject
) -> None:
    sent = data.draw(facts())
    plain = await deliver(opened, database, [sent])
    assert tokens_by_customer(plain[0]) == truth(sent)
    again = data.draw(st.lists(st.sampled_from(sent), max_size=3))
    calls: list[list[Fact]] = [[]]
    for one in data.draw(st.permutations([*sent, *again])):
        calls[-1].append(one)
        if data.draw(st.booleans()):
            calls.append([])
    assert await deliver(opened, database, [call for call in calls if call]) == plain
