"""In any order, batching and repetition the same books; of conflicting events the first counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.metering.record import Record
from ledger.store.queries import Connection
from tests.support.database import Database, empty
from tests.support.examples import at_depth
from tests.support.usage import (
    Event,
    Gate,
    activity,
    attempt,
    correction,
    fates,
    keyed,
    sequenced,
    windows,
    windows_of_facts,
)

# A failing example is made smaller before it is shown.
pytestmark = pytest.mark.timeout(300)
SMALL = settings(max_examples=at_depth(10))
EMPTY = """usage_fact_20260806, receipt, ingest_batch, event_key, correction, fate_change,
    conflict, quarantine, quarantine_raw, quarantine_replay, usage_delta, activity,
    activity_mask, usage_mark, usage_key, engine_key, source"""
MASKS = """SELECT e.engine_instance, e.model, m.window_start, bit_or(m.mask)::text AS mask
             FROM activity_mask m JOIN engine_key e USING (engine_key_id)
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""


@dataclass(frozen=True, slots=True)
class Thing:
    """What is sent as one: an event with an id of its own, or a numbered batch."""

    events: tuple[Event, ...]
    sequence: int | None = None

    def record(self) -> Record:
        """It alone."""
        if self.sequence is None:
            return keyed(*self.events)
        return sequenced(self.events, sequence=self.sequence)


@st.composite
def said(draw: st.DrawFn) -> dict[str, Any]:
    """What an attempt says: when it ran and ended, where, for whom and how much."""
    return {
        "minute": draw(st.integers(0, 59)),
        "tokens": draw(st.integers(1, 99)),
        "customer_id": draw(st.sampled_from(["acme", "globex"])),
        "started_at": f"2026-08-06T10:{draw(st.integers(0, 59)):02}:{draw(st.integers(0, 59)):02}Z",
        "engine": {"instance": draw(st.sampled_from(["pod-1", "pod-2"]))},
    }


@st.composite
def things(draw: st.DrawFn) -> list[Thing]:
    """Events and batches without conflict, corrections of some of them among them."""
    found: list[Thing] = []
    for n in range(draw(st.integers(1, 4))):
        found.append(Thing((attempt(f"e{n}", **draw(said())),)))
        found += [
            Thing((correction(f"e{n}.{r}", of=f"e{n}", revision=r, **draw(said())),))
            for r in range(1, draw(st.sampled_from([1, 1, 2, 3])))
        ]
    for n in range(1, 1 + draw(st.integers(1, 3))):
        attempts = tuple(attempt(**draw(said())) for _ in range(draw(st.integers(1, 3))))
        found.append(Thing(attempts, sequence=n))
        if draw(st.booleans()):
            mend = correction("", of=f"1.{n}.0", revision=1, **draw(said()))
            found.append(Thing((mend,), sequence=100 + n))
    return found


@st.composite
def delivered(draw: st.DrawFn, sent: Sequence[Thing]) -> list[list[Thing]]:
    """Calls that bring all of it in some order, and some of it again."""
    again = draw(st.lists(st.sampled_from(sent), max_size=len(sent)))
    calls: list[list[Thing]] = [[]]
    for thing in draw(st.permutations([*sent, *again])):
        calls[-1].append(thing)
        if draw(st.booleans()):
            calls.append([])
    return [call for call in calls if call]


def records_of(call: Sequence[Thing]) -> list[Record]:
    """Neighbours with ids of their own share a record, as a gateway sends them."""
    found: list[Record] = []
    for sequence, together in groupby(call, key=attrgetter("sequence")):
        if sequence is None:
            found.append(keyed(*(event for thing in together for event in thing.events)))
        else:
            found += [sequenced(thing.events, sequence=sequence) for thing in together]
    return found


async def deliver(
    connection: Connection, database: Database, calls: Sequence[Sequence[Thing]]
) -> list[str]:
    """What became of every event, in books that were empty before."""
    await empty(database, EMPTY)
    gate = Gate(connection)
    return [found for call in calls for found in await gate.outcomes(*records_of(call))]


async def books(connection: Connection) -> list[Any]:
    """Windows, activity, and busy seconds, by what events call things."""
    masks = [tuple(row) for row in await connection.fetch(MASKS)]
    return [await windows(connection), await activity(connection), masks]


def target_of(thing: Thing, ordinal: int) -> str:
    """The attempt that an event of a thing tells of."""
    event = thing.events[ordinal]
    own = event["id"] if thing.sequence is None else f"1.{thing.sequence}.{ordinal}"
    return str(event["data"].get("supersedes", own))


def total(things_: Sequence[Thing]) -> dict[str, int]:
    """The truth, told naively: the highest revision of each attempt counts; tokens by customer."""
    last: dict[str, Event] = {}
    for thing in things_:
        for ordinal, event in enumerate(thing.events):
            known = last.setdefault(target_of(thing, ordinal), event)
            if event["data"].get("revision", 0) > known["data"].get("revision", 0):
                last[target_of(thing, ordinal)] = event
    sums: dict[str, int] = {}
    for event in last.values():
        who, used = event["data"]["customer_id"], event["data"]["usage"]
        sums[who] = sums.get(who, 0) + used["input"]["uncached"]
    return sums


def tokens_by_customer(found: Sequence[tuple[Any, ...]]) -> dict[str, int]:
    """Tokens of windows, by the name their events give."""
    sums: dict[str, int] = {}
    for row in found:
        sums[row[1]] = sums.get(row[1], 0) + int(row[6])
    return sums


@SMALL
@given(data=st.data())
async def test_any_order_batching_and_repetition_gives_the_same_books(
    opened: Connection, database: Database, data: st.DataObject
) -> None:
    sent = data.draw(things())
    await deliver(opened, database, [sent])
    plain = await books(opened)
    outcomes = await deliver(opened, database, data.draw(delivered(sent)))
    assert await books(opened) == plain
    assert await windows_of_facts(opened) == plain[0]
    assert tokens_by_customer(plain[0]) == total(sent)
    assert not {"conflict", "rejected"} & set(outcomes)


@st.composite
def versions(draw: st.DrawFn) -> list[Thing]:
    """Under each id and number contents that differ."""
    found: list[Thing] = []
    for n in range(draw(st.integers(1, 4))):
        for tokens in draw(st.sets(st.integers(1, 99), min_size=1, max_size=3)):
            found.append(Thing((attempt(f"e{n}", tokens=tokens),)))
            batch = (attempt(tokens=tokens), attempt(tokens=5, minute=20))
            found.append(Thing(batch, sequence=n + 1))
    return found


@SMALL
@given(data=st.data())
async def test_of_conflicting_events_the_first_counts_and_the_others_are_reported(
    opened: Connection, database: Database, data: st.DataObject
) -> None:
    calls = data.draw(delivered(data.draw(versions())))
    outcomes = await deliver(opened, database, calls)
    first: dict[str, Thing] = {}
    expected, reported = list[str](), 0
    for thing in (thing for call in calls for thing in call):
        place = target_of(thing, 0)
        fate = "created" if place not in first else "duplicate"
        if first.setdefault(place, thing) != thing:
            fate, reported = "conflict", reported + 1
        expected += [fate] * len(thing.events)
    assert outcomes == expected
    assert await opened.fetchval("SELECT count(*) FROM conflict") == reported
    found = await windows(opened)
    assert tokens_by_customer(found) == total(list(first.values()))
    assert await windows_of_facts(opened) == found
    assert (await fates(opened)).get("conflict", 0) == expected.count("conflict")
