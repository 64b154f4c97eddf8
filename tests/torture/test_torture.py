"""A few seeds of the fault run, and proof that it would notice."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.embedded.postgres import EmbeddedServer
from ledger.store.connect import connect
from tests.support.database import Database, fresh_database, make_template, server_folder
from tests.support.disks import damage
from tests.support.kafka import Broker
from tests.torture.books import differences, receipts_of
from tests.torture.cut_offs import CutOffs, hold_open
from tests.torture.faults import FAULTS, faults_of
from tests.torture.kept import keep, never_met, sources_digest
from tests.torture.kinds import kinds_of
from tests.torture.left import leave_books
from tests.torture.model import Attempt, Delivery, contents, work_out
from tests.torture.neighbours import make_knocks
from tests.torture.nursery import Nursery
from tests.torture.run import Ground, Outcome, ingest_all, run_seed
from tests.torture.scene import MISSED, Met
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


def test_the_model_lets_nobody_correct_what_is_anothers() -> None:
    original = said("a", 100)
    own = said("own", 70, target=("k", "a"), revision=1, owner="acme")
    others = said("theirs", 1, customer="initech", target=("k", "a"), revision=9, owner="initech")
    firsts = {a.identity: (a.uncached,) for a in (original, own, others)}

    def tokens(*sent: Attempt) -> int:
        truth = work_out([Delivery((one,)) for one in sent], firsts, KNOWN)
        return sum(n for key, n in truth.usage.items() if key[-1] == "uncached")

    assert [tokens(original, others), tokens(others, own, original)] == [100, 70]
    # Of what never came nobody knows whose it is.
    assert tokens(others, own) == 71
    truth = work_out([Delivery((original, own, others))], firsts, KNOWN)
    assert +truth.fates == {"counted": 1, "superseded": 1, "quarantined": 1}


@pytest.mark.parametrize("what", range(12))
def test_damage_makes_another_file_and_is_mended(tmp_path: Path, what: int) -> None:
    path, whole = tmp_path / "part", random.Random(what).randbytes(9_000)
    path.write_bytes(whole)
    done = damage(random.Random(what), path, tmp_path / "copies")
    assert path.read_bytes() != whole
    done.mend()
    assert path.read_bytes() == whole


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
        template, nursery = make_template(durable_server), Nursery()
        yield Ground(durable_server, template, kafka_broker, Path(folder), nursery)
        nursery.close()


@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        (1, ["kill in commit", "kill in copy"]),
        (2, ["rebalance", "stop database"]),
        (3, ["open batch", "freeze in copy"]),
        (4, ["kill fold", "kill archive"]),
        (5, ["fill spool", "step clock", "damage spool"]),
        (6, ["restore", "damage archive"]),
        (7, ["kill merge"]),
    ],
)
def test_the_books_stand_whatever_happens_to_those_who_keep_them(
    ground: Ground, seed: int, faults: list[str]
) -> None:
    outcome = run_seed(ground, seed, faults)
    assert not outcome.wrong
    assert [met.fault for met in outcome.faults] == faults
    assert not [met for met in outcome.faults if met.missed], "a fault that missed proves nothing"


@pytest.fixture(scope="module")
def ingested(ground: Ground) -> Iterator[tuple[str, list[Sent], set[tuple[str, int]]]]:
    """A database that has ingested the records of a seed, without faults."""
    sent, missing = make_records(5, size=24)
    with fresh_database(ground.server, ground.template) as database:
        asyncio.run(ingest_all(database, sent))
        yield database.name, sent, missing


@pytest.fixture
def read(
    ground: Ground, ingested: tuple[str, list[Sent], set[tuple[str, int]]]
) -> Iterator[tuple[Database, list[Sent], set[tuple[str, int]]]]:
    """A copy of it, to be harmed."""
    template, sent, missing = ingested
    with fresh_database(ground.server, template) as database:
        yield database, sent, missing


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("DELETE FROM usage_delta WHERE ctid = (SELECT min(ctid) FROM usage_delta)", "usage"),
        ("UPDATE activity SET output[1] = output[1] + 1", "work"),
        ("UPDATE activity_mask SET mask = ~mask", "busy"),
        ("DELETE FROM ingest_batch WHERE sequence = 2", "gap"),
        ("UPDATE receipt SET counted = counted - 1, conflict = conflict + 1"
         " WHERE counted > 0", "fate"),
        ("UPDATE receipt SET received = received + 1, duplicate = duplicate + 1", "received"),
        ("DELETE FROM usage_fact WHERE ctid = (SELECT min(ctid) FROM usage_fact)", "fact"),
        ("INSERT INTO usage_fact SELECT * FROM usage_fact ORDER BY ctid LIMIT 1", "fact"),
        ("UPDATE usage_delta SET visible = visible + 1", "check: usage_delta"),
        ("UPDATE usage_fact SET reasoning = reasoning + 1", "check: usage_delta"),
        ("DELETE FROM activity_mask", "check: activity_mask"),
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


def test_a_seed_that_failed_leaves_its_books(
    read: tuple[Database, list[Sent], set[tuple[str, int]]], tmp_path: Path
) -> None:
    database, sent, _ = read
    said = [one.said for one in sent]
    folder = asyncio.run(leave_books(database.worker_url, 5, said, below=tmp_path))
    lines = {path.stem: path.read_text().splitlines() for path in folder.iterdir()}
    assert len(lines["sent"]) == len(sent)
    tables = ("receipt", "event_key", "correction", "fate_change", "quarantine", "facts")
    assert all(len(lines[table]) > 1 for table in tables)
    numbers = {line.rsplit(",", 1)[1] for line in lines["facts"][1:]}
    assert {str(one.said.attempts[0].uncached) for one in sent if one.said.attempts} & numbers


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("DELETE FROM receipt WHERE ctid = (SELECT min(ctid) FROM receipt)", "receipt"),
        ("UPDATE receipt SET position = 't/0/0'", "receipt"),
        ("UPDATE kafka_position SET next_offset = next_offset - 1", "position"),
    ],
)
def test_a_record_that_was_not_received_once_is_noticed(
    read: tuple[Database, list[Sent], set[tuple[str, int]]], harm: str, named: str
) -> None:
    database, sent, _ = read

    async def as_if_by_kafka() -> list[str]:
        connection = await connect(database.superuser_url)
        ends: Counter[int] = Counter()
        try:
            await connection.execute("SET session_replication_role = replica")
            seqs = await connection.fetch("SELECT DISTINCT batch_seq FROM receipt ORDER BY 1")
            for (seq,), one in zip(seqs, sent, strict=True):
                position = f"t/{one.partition}/{ends[one.partition]}"
                await connection.execute(BY_KAFKA, seq, position)
                ends[one.partition] += 1
            await connection.executemany(STANDS, list(ends.items()))
            assert await receipts_of(database.worker_url, sent) == []
            await connection.execute(harm)
        finally:
            await connection.close()
        return await receipts_of(database.worker_url, sent)

    assert any(one.startswith(named) for one in asyncio.run(as_if_by_kafka()))


BY_KAFKA = "UPDATE receipt SET transport = 'kafka', position = $2 WHERE batch_seq = $1"
STANDS = """
INSERT INTO kafka_position (cluster_id, topic_id, partition, topic, next_offset, batch_seq)
VALUES ('c', 't', $1, 't', $2, 0)
"""


def test_a_batch_that_slips_behind_a_cut_off_is_noticed(
    read: tuple[Database, list[Sent], set[tuple[str, int]]],
) -> None:
    database, _, _ = read
    cut_offs = CutOffs(database.worker_url)

    async def slip() -> tuple[list[str], list[str]]:
        watching = asyncio.create_task(cut_offs.watch())
        while not cut_offs.seen:
            await asyncio.sleep(0.01)
        watching.cancel()
        before = await cut_offs.slipped()
        connection = await connect(database.superuser_url)
        try:
            await connection.execute(
                "INSERT INTO usage_delta SELECT * FROM usage_delta ORDER BY ctid LIMIT 1"
            )
        finally:
            await connection.close()
        return before, await cut_offs.slipped()

    before, after = asyncio.run(slip())
    assert before == []
    assert any(one.startswith("cut-off") for one in after)


def test_a_cut_off_that_passes_an_open_batch_is_noticed(
    read: tuple[Database, list[Sent], set[tuple[str, int]]],
) -> None:
    database, _, _ = read

    async def others() -> bool:
        return True

    async def hold() -> list[str]:
        wrong, went_on = await hold_open(database.worker_url, 0.1, others)
        assert went_on
        return wrong

    async def unlock() -> None:
        connection = await connect(database.owner_url)
        try:
            await connection.execute(
                "CREATE OR REPLACE FUNCTION draw_batch_seq() RETURNS bigint LANGUAGE sql"
                " SECURITY DEFINER AS $$ SELECT nextval('batch_seq') $$"
            )
        finally:
            await connection.close()

    assert asyncio.run(hold()) == []
    asyncio.run(unlock())
    assert any("passed the open batch" in one for one in asyncio.run(hold()))


def test_a_fault_that_missed_is_counted_as_missed(tmp_path: Path) -> None:
    path = tmp_path / "torture.json"
    hit, missed = Met("kill", ("anywhere",)), Met("kill", (f"{MISSED} anywhere",))
    first = Outcome(1, (hit, Met("stop broker", ())), {"events": 3}, 1)
    keep(path, [first], sources=sources_digest(), seconds=60)
    keep(
        path,
        [Outcome(2, (missed,), {"events": 4}, 1, ("x",))],
        sources=sources_digest(),
        seconds=60,
    )
    kept = json.loads(path.read_text())
    assert kept["seeds"] == 2
    assert kept["failed"] == [2]
    assert kept["faults"] == {
        "kill": {"met": 1, "missed": 1},
        "stop broker": {"met": 0, "missed": 1},
    }
    assert (kept["kinds"], kept["minutes"]) == ({"events": 7}, 2)
    assert (kept["inflicted"], kept["items"], kept["lost"]) == (3, 7, 0)
    assert kept["distinct_500s"] == []
    assert never_met([first]) == ["stop broker"]
    # Of other sources, what was said before is no longer said.
    path.write_text(path.read_text().replace(sources_digest(), "others"))
    keep(path, [first], sources=sources_digest(), seconds=60)
    assert json.loads(path.read_text())["seeds"] == 1


def test_every_kind_is_sent_and_every_fault_drawn_among_two_hundred_seeds() -> None:
    kinds: Counter[object] = Counter()
    faults: Counter[str] = Counter()
    for seed in range(1, 201):
        sent, missing = make_records(seed)
        kinds.update(kinds_of(sent, missing))
        kinds.update((one.key, one.reach) for one in make_knocks(seed, sent))
        faults.update(faults_of(random.Random(f"faults {seed}")))
    assert faults.keys() == FAULTS.keys()
    assert min(faults.values()) >= 10
    assert min(kinds.values()) >= 50


def test_a_truth_that_is_not_what_was_sent_is_noticed(
    read: tuple[Database, list[Sent], set[tuple[str, int]]],
) -> None:
    database, sent, missing = read
    assert asyncio.run(differences(database.worker_url, sent[1:], missing))
    assert asyncio.run(differences(database.worker_url, sent, missing | {("p0/1", 1)}))
