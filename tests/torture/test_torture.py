"""A few seeds of the fault run, and proof that it would notice."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.store.connect import connect
from ledger.store.postgres import EmbeddedServer
from tests.support.database import Database, fresh_database, make_template, server_folder
from tests.support.kafka import Broker
from tests.torture.books import differences
from tests.torture.model import Attempt, Delivery, contents, work_out
from tests.torture.run import Ground, ingest_all, run_seed
from tests.torture.sending import KNOWN, Sent, make_records

MINUTE = 60_000_000


def said(identity: str, uncached: int, **other: object) -> Attempt:
    fields: dict[str, object] = {
        **{"customer": "acme", "project": "p", "model": "m", "tier": "t", "engine": "e"},
        **{"started": 0, "first_token": MINUTE, "ended": 16 * MINUTE},
        **{"cache_read": 0, "visible": 30, "reasoning": 0},
    }
    return Attempt(identity=("k", identity), uncached=uncached, **(fields | other))  # type: ignore[arg-type]


def test_the_model_counts_the_first_content_and_names_the_others() -> None:
    one, other = said("a", 100), said("a", 101)
    sent = [Delivery((one,)), Delivery((other,)), Delivery((one,), bad=2)]
    assert contents(sent) == {("k", "a"): [(100,), (101,)]}
    truth = work_out(sent, {("k", "a"): (101,)}, KNOWN)
    assert +truth.fates == {"counted": 1, "conflict": 2, "quarantined": 2}
    assert truth.usage["acme", "p", "m", "t", 1, "uncached"] == 101


def test_the_model_lets_the_highest_revision_stand_in_any_order() -> None:
    original = said("a", 100)
    mends = [said(f"m{n}", 100 + n, target=("k", "a"), revision=n, started=-MINUTE) for n in (1, 2)]
    firsts = {a.identity: (a.uncached,) for a in (original, *mends)}
    books = [
        work_out([Delivery((a,)) for a in order], firsts, KNOWN)
        for order in ((original, *mends), (*reversed(mends), original))
    ]
    assert books[0] == books[1]
    assert +books[0].fates == {"counted": 1, "superseded": 2}
    assert books[0].usage["acme", "p", "m", "t", 1, "uncached"] == 102
    # A second is busy when any version says so, the one before the epoch's first window too.
    assert ("e", -1) in books[0].busy


def test_the_model_spreads_output_over_its_windows() -> None:
    truth = work_out([Delivery((said("a", 100),))], {("k", "a"): (100,)}, KNOWN)
    parts = [truth.work["e", "acme", "p", "m", "t", window, "output"] for window in (0, 1)]
    assert parts == [28, 2]
    assert {len(truth.busy["e", 0]), len(truth.busy["e", 1])} == {900, 60}


def test_a_seed_says_the_same_every_time() -> None:
    assert make_records(7) == make_records(7)
    assert make_records(7) != make_records(8)


@pytest.fixture(scope="module")
def ground(durable_server: EmbeddedServer, kafka_broker: Broker) -> Iterator[Ground]:
    kafka_broker.start()
    with server_folder() as folder:
        template = make_template(durable_server)
        yield Ground(durable_server, template, kafka_broker, Path(folder))


@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        (1, ["kill in commit", "kill in copy"]),
        (2, ["rebalance", "stop database"]),
        (3, ["open batch", "freeze in copy"]),
    ],
)
def test_the_books_stand_whatever_happens_to_those_who_keep_them(
    ground: Ground, seed: int, faults: list[str]
) -> None:
    outcome = run_seed(ground, seed, faults)
    assert not outcome.wrong
    assert [met.fault for met in outcome.faults] == faults
    assert not [met for met in outcome.faults if met.missed], "a fault that missed proves nothing"


@pytest.fixture
def read(ground: Ground) -> Iterator[tuple[Database, list[Sent], set[tuple[str, int]]]]:
    """A database that has ingested the records of a seed, without faults."""
    sent, missing = make_records(5, size=24)
    with fresh_database(ground.server, ground.template) as database:
        asyncio.run(ingest_all(database, sent))
        yield database, sent, missing


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("DELETE FROM usage_delta WHERE ctid = (SELECT min(ctid) FROM usage_delta)", "usage"),
        ("UPDATE activity_delta SET output = output + 1", "work"),
        ("UPDATE activity_mask SET mask = ~mask", "busy"),
        ("DELETE FROM ingest_batch WHERE sequence = 2", "gap"),
        ("UPDATE receipt SET counted = counted - 1, conflict = conflict + 1"
         " WHERE counted > 0", "fate"),
        ("UPDATE receipt SET received = received + 1, duplicate = duplicate + 1", "received"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_noticed(
    read: tuple[Database, list[Sent], set[tuple[str, int]]], harm: str, named: str
) -> None:
    database, sent, missing = read
    assert asyncio.run(differences(database.worker_url, sent, missing)) == []

    async def do_harm() -> list[str]:
        connection = await connect(database.superuser_url)
        try:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(harm)
        finally:
            await connection.close()
        return await differences(database.worker_url, sent, missing)

    assert any(one.startswith(named) for one in asyncio.run(do_harm()))


def test_a_truth_that_is_not_what_was_sent_is_noticed(
    read: tuple[Database, list[Sent], set[tuple[str, int]]],
) -> None:
    database, sent, missing = read
    assert asyncio.run(differences(database.worker_url, sent[1:], missing))
    assert asyncio.run(differences(database.worker_url, sent, missing | {("p0/1", 1)}))
