"""What few attempts count beside their leaves: read off events, summed, priced, and taken back."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.errors import ConflictError, UnavailableError
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.record import Record
from ledger.flows.books.check_books import check_books
from ledger.flows.check_seals import check_seals
from ledger.flows.metering.archive import archive, drop_day, write_archive
from ledger.flows.metering.fold import fold
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.merge import merge
from ledger.flows.metering.release import release_suspense
from ledger.flows.seal import seal
from ledger.store.connect import draw_cut_off, sum_windows
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.extras import find_extras_at
from ledger.store.metering.retention import ArchivedDay, close_day
from ledger.store.queries import Connection
from ledger.wire.batch import COLUMNAR
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.extras import EXTRAS, PART_OF, SAME_AS
from tests.flows.test_archive import BEFORE, LATER, TODAY
from tests.support.database import Database, empty, execute
from tests.support.examples import at_depth
from tests.support.usage import (
    NOW,
    Event,
    Gate,
    add_customer,
    attempt,
    correction,
    keyed,
    open_books,
)

LARGE = IngestLimits(chunk_facts=1)
SMALL = IngestLimits(chunk_facts=10**9)
SUMS = """SELECT k.customer_ref, d.window_start, d.meter, sum(d.quantity)::bigint AS quantity
            FROM extra_delta d JOIN usage_key k USING (usage_key_id)
           WHERE d.customer_id IS NOT DISTINCT FROM k.customer_id
           GROUP BY 1, 2, 3 HAVING sum(d.quantity) <> 0"""
Sums = dict[tuple[str, str], int]


def with_extras(event: Event, **said: Any) -> Event:
    """An event with 1,000 tokens in each leaf, of which some or beside which more is said."""
    usage = {
        "input": {"uncached": 1_000, "cache_read": 1_000, "cache_write": 1_000},
        "output": {"visible": 1_000, "reasoning": 1_000},
    }
    for name, counts in said.items():
        usage[name] = usage.get(name, {}) | counts
    event["data"]["usage"] = usage
    return event


def in_columns(*events: Event) -> Record:
    """A record of columns, of events with ids of their own."""
    return Record(encode_columnar(events, None), encoding=COLUMNAR)


async def sums(connection: Connection) -> Sums:
    await sum_windows(connection)
    found: Sums = Counter()
    for row in await connection.fetch(SUMS):
        found[row["customer_ref"], row["meter"]] += row["quantity"]
    return dict(found)


async def agree(connection: Connection) -> None:
    await draw_cut_off(connection, "report")
    found = await check_books(connection)
    assert (found.differences, found.differing) == ([], 0)


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    await open_books(worker)
    return Gate(worker)


SAID: list[tuple[dict[str, Any], dict[str, int]]] = [
    ({"input": {"cache_write_1h": 70}}, {"input_cache_write_1h": 70}),
    ({"output": {"rejected_prediction": 9}}, {"output_rejected_prediction": 9}),
    ({"modality": {"input.audio": 40, "input.text": 960}}, {"input_audio": 40}),
    (
        {"modality": {"input.audio": 40, "cache_read.audio": 15, "output.audio": 3}},
        {"input_audio": 25, "input_cache_read_audio": 15, "output_audio": 3},
    ),
    (
        {"modality": {"input.image": 900, "input.video": 100}},
        {"input_image": 900, "input_video": 100},
    ),
    (
        {"other": {"web_search.requests": 2, "web_fetch.requests": 1, "unread.words": 5}},
        {"web_search_calls": 2, "web_fetch_calls": 1},
    ),
    ({"other": {"audio.seconds": 3, "audio.milliseconds": None}}, {"input_audio_ms": 3_000}),
    (
        {"other": {"audio.milliseconds": 27_500, "images.output": 4}},
        {"input_audio_ms": 27_500, "output_images": 4},
    ),
    (
        {"other": {"web_search_low.requests": 2, "storage.gb_days": 3, "storage.mb_days": 4}},
        {"web_search_low_calls": 2, "storage_mb_days": 3_004},
    ),
    (
        {"other": {"code_interpreter.sessions": 1, "pages.input": 7, "video.seconds": 2}},
        {"code_interpreter_sessions": 1, "input_pages": 7, "input_video_ms": 2_000},
    ),
    ({"other": {"gpu.seconds": 8}, "modality": {"input.text": 5}}, {"gpu_ms": 8_000}),
    ({"other": {"web_search.requests": 0}, "modality": {}}, {}),
]


@pytest.mark.parametrize(("said", "meters"), SAID)
async def test_events_say_extras_in_every_form(
    gate: Gate, said: dict[str, Any], meters: dict[str, int]
) -> None:
    alone = with_extras(attempt("alone"), **said)
    shaped = [with_extras(attempt(f"n{n}"), **said) for n in range(40)]
    columns = [with_extras(attempt(f"c{n}"), **said) for n in range(3)]
    await gate.send(keyed(alone))
    await gate.send(keyed(*shaped))
    await gate.send(in_columns(*columns, attempt("plain")))
    expected = {("acme", meter): 44 * quantity for meter, quantity in meters.items()}
    assert await sums(gate.connection) == expected
    await agree(gate.connection)


async def test_what_nobody_said_writes_nothing(gate: Gate) -> None:
    for limits in (LARGE, SMALL):
        gate.limits = limits
        await gate.send(keyed(attempt(f"of {limits.chunk_facts}")))
    await sum_windows(gate.connection)
    for table in ("usage_extra", "extra_delta"):
        assert await gate.connection.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_other_extras_under_one_id_are_a_conflict(gate: Gate) -> None:
    searched = with_extras(attempt("e1"), other={"web_search.requests": 1})
    again = with_extras(attempt("e1"), other={"web_search.requests": 2})
    assert await gate.outcomes(keyed(searched)) == ["created"]
    assert await gate.outcomes(keyed(searched), keyed(again)) == ["duplicate", "conflict"]
    assert await sums(gate.connection) == {("acme", "web_search_calls"): 1}


@pytest.mark.parametrize("count", [10**12, 10**9])
async def test_an_absurd_extra_is_refused_in_every_form(gate: Gate, count: int) -> None:
    name = "audio.seconds" if count < 10**12 else "web_search.requests"
    many = [with_extras(attempt(f"e{n}"), other={name: count}) for n in range(20)]
    assert set(await gate.outcomes(keyed(*many))) == {"rejected"}
    assert set(await gate.outcomes(in_columns(*many))) == {"rejected"}
    right = with_extras(attempt("right"), other={name: count - 1})
    assert await gate.outcomes(keyed(right)) == ["created"]


async def test_corrections_and_releases_move_extras(gate: Gate) -> None:
    await gate.send(keyed(with_extras(attempt("e1"), other={"web_search.requests": 5})))
    gate.limits = LARGE
    await gate.send(keyed(with_extras(attempt("e2"), input={"cache_write_1h": 50})))
    lost = with_extras(attempt("e3", customer_id="beta"), other={"tool.calls": 3})
    await gate.send(keyed(lost))
    assert await sums(gate.connection) == {
        ("acme", "web_search_calls"): 5,
        ("acme", "input_cache_write_1h"): 50,
        ("beta", "tool_calls"): 3,
    }
    fixed = correction("c1", of="e1", revision=1)
    await gate.send(keyed(with_extras(fixed, other={"web_search.requests": 2})))
    await gate.send(keyed(correction("c2", of="e2", revision=1)))
    await add_customer(gate.connection, "beta")
    released = await release_suspense(gate.connection, directory=gate.directory, now=NOW)
    assert released == 1
    assert await sums(gate.connection) == {
        ("acme", "web_search_calls"): 2,
        ("beta", "tool_calls"): 3,
    }
    assert (
        await gate.connection.fetchval(
            "SELECT sum(quantity) FROM extra_delta WHERE customer_id = 'beta'"
        )
        == 3
    )
    await agree(gate.connection)


async def test_what_is_corrected_in_its_batch_leaves_no_extras(gate: Gate) -> None:
    first = with_extras(attempt("e1"), other={"tool.calls": 3}, input={"cache_write_1h": 4})
    better = with_extras(correction("c1", of="e1", revision=1), other={"tool.calls": 1})
    await gate.send(keyed(first, better))
    assert await sums(gate.connection) == {("acme", "tool_calls"): 1}
    await agree(gate.connection)


@pytest.mark.parametrize("limits", [LARGE, SMALL])
async def test_merged_and_archived_facts_keep_their_extras(
    gate: Gate, tmp_path: Path, limits: IngestLimits
) -> None:
    gate.limits, calls = limits, {"tool.calls": 2}
    await gate.send(keyed(*(with_extras(attempt(f"e{n}"), other=calls) for n in range(4))))
    await prepare_storage(gate.connection, now=LATER)
    await merge(gate.connection, today=TODAY)
    better = with_extras(correction("c0", of="e0", revision=1), other={"tool.calls": 1})
    await gate.send(keyed(better), now=LATER)
    before = await gate.connection.fetch(PLACES)
    done = await archived(gate, tmp_path)
    assert [(each.table, each.day.rows) for each in done] == [("usage_fact", 4), ("usage_extra", 4)]
    keys = [(row["batch_seq"], row["ordinal"]) for row in before]
    assert await find_extras_at(gate.connection, keys) == {
        key: {row["meter"]: row["quantity"]} for key, row in zip(keys, before, strict=True)
    }
    assert await gate.connection.fetchval("SELECT to_regclass('usage_extra_20260806')") is None
    await gate.send(keyed(correction("c1", of="e1", revision=1)), now=LATER)
    assert await sums(gate.connection) == {("acme", "tool_calls"): 5}
    await agree(gate.connection)
    assert (await check_seals([gate.connection])).differences == []


PLACES = """SELECT x.batch_seq, u.ordinal, x.meter, u.quantity
              FROM usage_extra x
             CROSS JOIN LATERAL unnest(x.ordinals, x.quantities) AS u(ordinal, quantity)
             ORDER BY 1, 2, 3"""


async def archived(gate: Gate, folder: Path) -> Sequence[ArchivedDay]:
    await prepare_storage(gate.connection, now=LATER)
    done = await archive(gate.connection, before=BEFORE, today=TODAY, folder=folder)
    return done.archived


async def searched(gate: Gate, folder: Path) -> Path:
    """The file of extras of a day in which somebody searched."""
    events = [with_extras(attempt(f"e{n}"), other={"web_search.requests": n}) for n in range(4)]
    await gate.send(keyed(*events))
    *_, extras = await archived(gate, folder)
    assert isinstance(extras.path, Path)
    return extras.path


async def test_a_file_holds_each_extra_of_each_fact_as_a_row(gate: Gate, tmp_path: Path) -> None:
    events = [with_extras(attempt(f"e{n}"), other={"tool.calls": n}) for n in range(3)]
    await gate.send(keyed(*events, with_extras(attempt("both"), **SAID[3][0])))
    rows = await gate.connection.fetch(PLACES)
    _, extras = await archived(gate, tmp_path)
    assert extras.path == tmp_path / "usage_extra" / "stored_day=2026-08-06" / "part.parquet"
    found = scan_archived(extras).collect()
    place = found.select("batch_seq", "ordinal", "meter", "quantity")
    assert place.rows() == [tuple(row) for row in rows]
    assert {row["meter"] for row in rows} == {"tool_calls", *SAID[3][1]}
    manifest = json.loads(extras.path.with_name("manifest.json").read_text())
    assert (manifest["table"], manifest["rows"]) == ("usage_extra", len(rows))
    assert list(manifest["columns"]) == found.columns
    assert found["time"].unique().to_list() == [datetime(2026, 8, 6, 11, 0, 30, tzinfo=UTC)]


async def test_a_day_without_extras_leaves_no_file_of_them(gate: Gate, tmp_path: Path) -> None:
    await gate.send(keyed(attempt("plain")))
    assert [each.table for each in await archived(gate, tmp_path)] == ["usage_fact"]
    assert await gate.connection.fetchval("SELECT to_regclass('usage_extra_20260806')") is None


async def test_facts_do_not_go_without_their_extras(gate: Gate, tmp_path: Path) -> None:
    await gate.send(keyed(with_extras(attempt("e1"), other={"tool.calls": 3})))
    facts = await write_archive(
        gate.connection, await close_day(gate.connection, BEFORE - timedelta(days=1)), tmp_path
    )
    with pytest.raises(ConflictError, match="extras of 2026-08-06 are in no file"):
        await drop_day(gate.connection, facts)
    assert await gate.connection.fetchval("SELECT count(*) FROM usage_fact") == 1


async def test_check_names_a_file_of_extras_that_changed_or_is_away(
    gate: Gate, tmp_path: Path
) -> None:
    path = await searched(gate, tmp_path)
    octets = path.read_bytes()
    pl.read_parquet(path).with_columns(quantity=pl.lit(1)).write_parquet(path)
    (changed,) = (await check_seals([gate.connection])).differences
    assert (changed.table, changed.where) == ("usage_extra", "file of 2026-08-06")
    with pytest.raises(ConflictError, match="SHA-256 differs"):
        await agree(gate.connection)
    path.unlink()
    with pytest.raises(UnavailableError, match="archived extras of 2026-08-06 are not at"):
        await agree(gate.connection)
    path.write_bytes(octets)
    await agree(gate.connection)


async def test_a_correction_goes_aside_where_the_file_of_extras_is_away(
    gate: Gate, tmp_path: Path
) -> None:
    path = await searched(gate, tmp_path)
    path.rename(tmp_path / "elsewhere")
    fixed = keyed(with_extras(correction("c1", of="e3", revision=1), other={"tool.calls": 1}))
    (found,) = await gate.send(fixed, now=LATER)
    assert [item.reason for item in found.items()] == [Reason.TARGET_AWAY]
    assert await sums(gate.connection) == {("acme", "web_search_calls"): 6}


async def test_a_day_whose_extras_are_not_what_was_sealed_stays(
    gate: Gate, database: Database, tmp_path: Path
) -> None:
    await gate.send(keyed(with_extras(attempt("e1"), other={"tool.calls": 3})))
    await seal(gate.connection)
    await execute(
        database.superuser_url,
        "SET session_replication_role = replica; UPDATE usage_extra SET quantities = ARRAY[4]",
    )
    await prepare_storage(gate.connection, now=LATER)
    done = await archive(gate.connection, before=BEFORE, today=TODAY, folder=tmp_path)
    assert [(each.table, each.reason) for each in done.kept] == [
        ("usage_fact", "its facts are not those that were sealed: see `check`")
    ]


METERS_SAID = {
    ("input", "cache_write_1h"): ("input_cache_write_1h", 1),
    ("output", "rejected_prediction"): ("output_rejected_prediction", 1),
    ("modality", "input.audio"): ("input_audio", 1),
    ("modality", "output.image"): ("output_image", 1),
    ("other", "web_search.requests"): ("web_search_calls", 1),
    ("other", "audio.seconds"): ("input_audio_ms", 1_000),
    ("other", "gpu.milliseconds"): ("gpu_ms", 1),
}


@st.composite
def some_extras(draw: st.DrawFn) -> dict[str, Any]:
    """What an attempt says of extras, mostly nothing."""
    said: dict[str, Any] = {}
    for group, name in draw(st.lists(st.sampled_from(sorted(METERS_SAID)), max_size=3)):
        said.setdefault(group, {})[name] = draw(st.integers(0, 300))
    return said


@st.composite
def sent(draw: st.DrawFn) -> list[list[tuple[str, str, int, dict[str, Any]]]]:
    """Batches of (customer, id, revision, extras): originals and corrections, in any order."""
    events = []
    for n in range(draw(st.integers(1, 6))):
        who = draw(st.sampled_from(["acme", "beta"]))
        for revision in range(draw(st.integers(1, 3))):
            events.append((who, f"e{n}", revision, draw(some_extras())))
    shuffled = draw(st.permutations(events))
    batches: list[list[tuple[str, str, int, dict[str, Any]]]] = [[]]
    for event in shuffled:
        if draw(st.booleans()):
            batches.append([])
        batches[-1].append(event)
    return [batch for batch in batches if batch]


def counted(said: Mapping[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for group, counts in said.items():
        for name, number in counts.items():
            meter, units = METERS_SAID[group, name]
            found[meter] += number * units
    return found


EMPTY = """usage_fact, usage_chunk, receipt, event_key, correction, fate_change, usage_delta,
    extra_delta, usage_extra, pending_sum, activity, activity_mask, usage_mark, usage_key,
    engine_key, source"""


@given(batches=sent(), data=st.data())
@settings(max_examples=at_depth(15))
async def test_any_mix_has_the_same_sums_by_any_way_and_pace(
    gate: Gate,
    database: Database,
    batches: list[list[tuple[str, str, int, dict[str, Any]]]],
    data: st.DataObject,
) -> None:
    await empty(database, EMPTY)
    gate = Gate(gate.connection)
    latest: dict[str, tuple[int, str, dict[str, Any]]] = {}
    for batch in batches:
        events = []
        for who, name, revision, said in batch:
            about: dict[str, Any] = {"customer_id": who, "minute": len(name)}
            if revision:
                event = correction(f"{name}.{revision}", of=name, revision=revision, **about)
            else:
                event = attempt(name, **about)
            events.append(with_extras(event, **said))
            if revision >= latest.get(name, (-1, "", {}))[0]:
                latest[name] = (revision, who, said)
        gate.limits = data.draw(st.sampled_from([LARGE, SMALL]))
        columnar = data.draw(st.booleans())
        record = in_columns(*events) if columnar else keyed(*events)
        await gate.send(record)
        if data.draw(st.booleans()):
            await sum_windows(gate.connection)
        if data.draw(st.booleans()):
            await draw_cut_off(gate.connection, "report")
            await fold(gate.connection)
    expected: Sums = Counter()
    for _, who, said in latest.values():
        for meter, quantity in counted(said).items():
            expected[who, meter] += quantity
    assert await sums(gate.connection) == {key: n for key, n in expected.items() if n}
    await agree(gate.connection)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("UPDATE extra_delta SET quantity = quantity + 1", "quantity"),
        ("DELETE FROM extra_delta", "quantity"),
        ("UPDATE extra_delta SET customer_id = 'beta'", "misplaced"),
        (
            """UPDATE extra_delta SET quantity = 5000;
               UPDATE usage_extra SET quantities = ARRAY[5000]""",
            "parts",
        ),
    ],
)
async def test_extras_that_are_wrong_are_named(
    gate: Gate, superuser: Connection, sql: str, name: str
) -> None:
    await gate.send(keyed(with_extras(attempt("e1"), input={"cache_write_1h": 600})))
    await superuser.execute(sql)
    await draw_cut_off(gate.connection, "report")
    found = await check_books(gate.connection)
    assert name in {each.name for each in found.differences if each.table == "extra_delta"}


async def test_the_database_knows_which_meter_is_a_part_of_which(worker: Connection) -> None:
    for meter in EXTRAS:
        assert await worker.fetchval("SELECT part_of($1)", meter) == PART_OF.get(meter)
        assert await worker.fetchval("SELECT same_as($1)", meter) == SAME_AS.get(meter)
