"""What ingest stores, and that it stores it once."""

from dataclasses import replace

import pytest

from ledger.domain.metering.fact import Fate, Reason
from ledger.domain.metering.record import Record
from ledger.flows.metering.conflicts import Resolution, resolve_conflict
from ledger.flows.metering.limits import IngestLimits
from ledger.store.connect import connect
from ledger.store.metering.conflicts import list_conflicts
from ledger.store.queries import Connection
from tests.support.database import Database
from tests.support.usage import (
    AUTHOR,
    NOW,
    SOURCE,
    Event,
    Gate,
    activity,
    add_customer,
    attempt,
    bound_to,
    correction,
    fates,
    keyed,
    open_books,
    sequenced,
    text,
    windows,
    windows_of_facts,
)
from tests.wire.samples import counters_event, energy_event, gap_event

SUM = "SELECT sum(uncached)::bigint FROM usage_delta"


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    await open_books(worker)
    return Gate(worker)


async def test_attempts_become_facts_windows_and_activity(gate: Gate) -> None:
    assert await gate.outcomes(keyed(attempt("a"), attempt("b", tokens=5))) == ["created"] * 2
    (window,) = await windows(gate.connection)
    assert window[0] == "acme"
    assert window[5:8] == (2, 15, 30)
    assert await windows_of_facts(gate.connection) == [window]
    ((*_, uncached, output),) = await activity(gate.connection)
    assert (uncached, output) == (15, 30)


async def test_same_event_again_is_a_duplicate_and_other_content_a_conflict(gate: Gate) -> None:
    await gate.send(keyed(attempt("a")))
    before = await windows(gate.connection)
    assert await gate.outcomes(keyed(attempt("a"), attempt("a", tokens=11))) == [
        "duplicate",
        "conflict",
    ]
    assert await windows(gate.connection) == before
    assert await fates(gate.connection) == {
        "received": 3,
        "counted": 1,
        "duplicate": 1,
        "conflict": 1,
    }


async def test_first_of_equal_ids_within_a_call_counts(gate: Gate) -> None:
    twice = keyed(attempt("a"), attempt("a"), attempt("a", tokens=99))
    assert await gate.outcomes(twice) == ["created", "duplicate", "conflict"]


async def test_a_numbered_batch_counts_once_in_any_order(gate: Gate) -> None:
    second = sequenced([attempt(), attempt(tokens=3)], sequence=2)
    first = sequenced([attempt(tokens=4)], sequence=1)
    assert await gate.outcomes(second, first) == ["created"] * 3
    assert await gate.outcomes(first, second) == ["duplicate"] * 3
    other = sequenced([attempt(tokens=5)], sequence=1)
    assert await gate.outcomes(other) == ["conflict"]
    assert (await windows(gate.connection))[0][5:7] == (3, 17)


async def test_one_bad_event_costs_only_itself(gate: Gate) -> None:
    bad = attempt("b")
    del bad["time"]
    found = await gate.send(keyed(attempt("a"), bad, attempt("c")))
    items = list(found[0].items())
    assert [item.outcome for item in items] == ["created", "rejected", "created"]
    assert items[1].reason is Reason.MISSING_TIME
    assert items[1].detail.startswith("time: found nothing")
    rows = await gate.connection.fetch(
        "SELECT * FROM quarantine JOIN quarantine_raw USING (quarantine_id)"
    )
    assert [(r["reason"], r["event_id"], b'"id":"b"' in r["raw"]) for r in rows] == [
        ("missing_time", "b", True)
    ]
    assert await gate.outcomes(keyed(attempt("b"))) == ["created"]


async def test_readings_and_counters_are_kept(gate: Gate) -> None:
    body = text([energy_event(), counters_event() | {"id": "2"}])
    assert await gate.outcomes(Record(body)) == ["created"] * 2
    assert await gate.connection.fetchval("SELECT energy_mj FROM gpu_reading") == 123_456_789
    assert await gate.connection.fetchval("SELECT value FROM counter_reading") == 9081


async def test_a_meter_without_readings_is_kept_with_its_reason(gate: Gate) -> None:
    wrong = gap_event(since="2026-08-06T06:32:00Z") | {"id": "2"}
    found = await gate.send(keyed(gap_event(detail="XID 79"), wrong))
    items = list(found[0].items())
    assert [item.outcome for item in items] == ["created", "rejected"]
    assert items[1].detail.startswith("data.since: found")
    again = keyed(gap_event(detail="XID 79"), gap_event(detail="XID 80"))
    assert await gate.outcomes(again) == ["duplicate", "conflict"]
    row = await gate.connection.fetchrow("SELECT * FROM meter_gap")
    assert row is not None
    assert (row["gpu_uuid"], row["reason"], row["detail"]) == ("GPU-c37b02d9", "gpu_lost", "XID 79")
    assert (row["until"] - row["since"]).seconds == 60


async def test_a_reading_keeps_what_orders_it(gate: Gate) -> None:
    event = energy_event(boot_id="b1", driver_load="d1", monotonic_us=5_000_000)
    assert await gate.outcomes(keyed(event)) == ["created"]
    row = await gate.connection.fetchrow("SELECT * FROM gpu_reading")
    assert row is not None
    assert (row["boot_id"], row["driver_load"], row["monotonic_us"]) == ("b1", "d1", 5_000_000)


async def test_a_source_keeps_the_form_it_came_in_first(gate: Gate) -> None:
    await gate.send(keyed(attempt("a") | {"source": "/hosts/a"}))
    (found,) = await gate.send(sequenced([attempt()]))
    assert [item.reason for item in found.items()] == [Reason.WRONG_FORM]
    assert await gate.connection.fetchval("SELECT count(*) FROM ingest_batch") == 0


@pytest.mark.parametrize("bound_first", [True, False])
@pytest.mark.parametrize("house_sequenced", [True, False])
async def test_a_bound_key_decides_no_form_for_others(
    gate: Gate, *, bound_first: bool, house_sequenced: bool
) -> None:
    single = keyed(*(attempt(f"e{n}", tokens=3) | {"source": "/hosts/a"} for n in range(2)))
    batch = sequenced([attempt(tokens=50), attempt(tokens=50)])
    of_house, of_bound = (batch, single) if house_sequenced else (single, batch)
    of_bound = replace(of_bound, permission=bound_to(["/hosts/a"], "acme"))
    sent = [of_bound, of_house] if bound_first else [of_house, of_bound]
    for record in (*sent, *sent):
        (found,) = await gate.send(record)
        assert {item.reason for item in found.items()} == {None}
    assert await fates(gate.connection) == {"received": 8, "counted": 4, "duplicate": 4}
    assert await gate.connection.fetchval("SELECT form FROM source") == (
        "sequenced" if house_sequenced else "keyed"
    )
    for record in sent:
        mend = correction("again", of="e0", revision=1, tokens=3)
        if record.header is None:
            again = keyed(mend | {"source": "/hosts/a"})
            body = b"\n".join([*record.body.split(b"\n"), again.body])
            (found,) = await gate.send(replace(record, body=body))
            assert [item.outcome for item in found.items()][2:] == ["created"]
    # Each keeps its own form, and may mend what it sent.
    (other,) = await gate.send(replace(of_house, permission=of_bound.permission))
    assert {item.reason for item in other.items()} == {Reason.WRONG_FORM}
    (other,) = await gate.send(replace(of_bound, permission=None))
    assert {item.reason for item in other.items()} == {Reason.WRONG_FORM}
    mends = [
        correction("c1", of="e0", revision=2, tokens=1, supersedes_source="/hosts/a"),
        correction("c2", of="p1/1/1/0", revision=1, tokens=7, supersedes_source="/hosts/a"),
    ]
    (mended,) = await gate.send(keyed(*mends))
    assert {item.reason for item in mended.items()} == {None}
    assert await gate.connection.fetchval(SUM) == 1 + 3 + 7 + 50
    assert await windows(gate.connection) == await windows_of_facts(gate.connection)


def _of(source: str, *events: Event) -> list[Event]:
    return [event | {"source": source} for event in events]


STRANGERS = [attempt("a", customer_id="beta"), attempt("b", customer_id="nobody-heard-of")]
FOREIGN = correction("a", of="x", revision=1, supersedes_source="gw/of-others")
# Whole first bodies of which nothing is taken.
REFUSED_FIRST = {
    "single events of others": keyed(*_of("/hosts/a", *STRANGERS)),
    "a batch of others": sequenced(STRANGERS),
    "a batch of nothing": Record(b"{nothing", sequenced([attempt()]).header),
    "single events that correct in sources of others": keyed(*_of("/hosts/a", FOREIGN)),
    "a batch that corrects in sources of others": sequenced([FOREIGN]),
    "a batch whose corrections name nothing": sequenced([correction("a", of="x", revision=1)]),
}


@pytest.mark.parametrize("single_then", [True, False])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("refused", REFUSED_FIRST)
async def test_a_first_body_that_is_refused_whole_decides_no_form(
    gate: Gate, refused: str, *, single_then: bool, together: bool
) -> None:
    await add_customer(gate.connection, "beta")
    allowed = bound_to(["/hosts/a"], "acme")
    own = keyed(*_of("/hosts/a", attempt("own"))) if single_then else sequenced([attempt()])
    sent = [replace(one, permission=allowed) for one in (REFUSED_FIRST[refused], own)]
    first, then = await gate.send(*sent) if together else [(await gate.send(r))[0] for r in sent]
    assert {item.outcome for item in first.items()} == {"rejected"}
    assert not {item.reason for item in first.items()} & {Reason.WRONG_FORM}
    assert [item.outcome for item in then.items()] == ["created"]
    forms = await gate.connection.fetch("SELECT form FROM source_form")
    assert [form for (form,) in forms] == ["keyed" if single_then else "sequenced"]
    assert await gate.connection.fetchval("SELECT form FROM source") is None


@pytest.mark.parametrize("resolution", ["corrected", "resent"])
async def test_a_conflict_of_a_bound_key_has_the_form_of_its_sender(
    gate: Gate, resolution: Resolution
) -> None:
    await gate.send(sequenced([attempt(tokens=50)]))
    allowed = bound_to(["/hosts/a"], "acme")
    for tokens in (3, 4):
        offer = keyed(attempt("e1", tokens=tokens) | {"source": "/hosts/a"})
        await gate.send(replace(offer, permission=allowed))
    (conflict,) = await list_conflicts(gate.connection, rows=9)
    done = await resolve_conflict(
        gate.connection,
        conflict.conflict_id,
        resolution,
        AUTHOR,
        event_id="e2",
        directory=gate.directory,
        now=NOW,
        limits=gate.limits,
    )
    assert [one.outcome for one in done] == ["created"]
    assert await gate.connection.fetchval(SUM) == {"corrected": 54, "resent": 57}[resolution]


async def test_a_key_writes_its_own_sources_and_customers_only(gate: Gate) -> None:
    other = attempt("b") | {"source": "/other"}
    stranger = attempt("c", customer_id="globex")
    allowed = bound_to([SOURCE], "acme")
    body = keyed(attempt("a"), other, stranger).body
    (found,) = await gate.send(Record(body, permission=allowed))
    assert [item.reason for item in found.items()] == [
        None,
        Reason.FORBIDDEN_SOURCE,
        Reason.FORBIDDEN_CUSTOMER,
    ]
    assert found.counts[Fate.COUNTED] == 1
    assert await gate.connection.fetchval("SELECT count(*) FROM source") == 1


@pytest.mark.parametrize("reached", ["usage of another", "nothing that can be read"])
@pytest.mark.parametrize("late", [False, True])
async def test_a_bound_key_takes_no_place_with_what_may_not_count(
    gate: Gate, reached: str, *, late: bool
) -> None:
    await add_customer(gate.connection, "globex")
    real = sequenced([attempt(customer_id="globex", tokens=5_000)])
    taken = real if reached == "usage of another" else replace(real, body=b"{nothing")
    bound = bound_to(["/hosts/a"], "acme")
    thief = replace(taken, permission=bound)
    for one in [real, thief] if late else [thief, real]:
        assert await gate.outcomes(one) == (["created"] if one is real else ["rejected"])
    assert await gate.outcomes(thief) == ["rejected"]
    assert await gate.outcomes(real) == ["duplicate"]
    # What it may say is counted under a name of its own, and takes none of another.
    assert await gate.outcomes(replace(thief, body=sequenced([attempt()]).body)) == ["created"]
    assert await gate.outcomes(real) == ["duplicate"]


async def test_every_event_of_a_source_that_a_key_may_not_write_is_refused(gate: Gate) -> None:
    other = [attempt(f"e{n}") | {"source": "gw/other"} for n in range(3)]
    mixed = keyed(attempt("a"), other[0], other[1], attempt("b"), other[2])
    allowed = replace(mixed, permission=bound_to([SOURCE]))
    assert await gate.outcomes(allowed) == [
        *("created", "rejected", "rejected", "created", "rejected"),
    ]


async def test_an_end_user_is_kept_as_a_keyed_hash_or_not_at_all(gate: Gate) -> None:
    event = attempt("a", end_user_id="mail@example.org")
    await gate.send(keyed(event))
    named = Gate(gate.connection, IngestLimits(end_user_secret=b"key"))
    await named.send(keyed(event | {"id": "b"}), keyed(event | {"id": "c"}))
    rows = await gate.connection.fetch("SELECT end_user FROM usage_fact ORDER BY event_id")
    none, first, second = (row[0] for row in rows)
    assert none is None
    assert first == second is not None


async def test_a_customer_entered_between_two_calls_is_known_to_the_second(gate: Gate) -> None:
    assert await gate.outcomes(keyed(attempt("a", customer_id="globex"))) == ["suspense"]
    await add_customer(gate.connection, "globex")
    assert await gate.outcomes(keyed(attempt("b", customer_id="globex"))) == ["created"]


async def test_a_directory_read_while_a_change_is_under_way_is_read_again(
    gate: Gate, database: Database
) -> None:
    other = await connect(database.worker_url)
    try:
        transaction = other.transaction()
        await transaction.start()
        await add_customer(other, "globex")
        assert await gate.outcomes(keyed(attempt("a", customer_id="globex"))) == ["suspense"]
        await transaction.commit()
        assert await gate.outcomes(keyed(attempt("b", customer_id="globex"))) == ["created"]
    finally:
        await other.close()
