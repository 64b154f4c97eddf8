"""Figures replace their own rows only, the page says what was missed, and all must have counted."""

import json
from pathlib import Path

import pytest

from benchmarks import events, ingest
from benchmarks.harness import RESULTS, TABLE, Figure, save
from benchmarks.latency import percentile
from benchmarks.scale import scaled
from benchmarks.server import yardstick
from benchmarks.stream import FORMS, Run, Span, check_stored
from ledger import clock
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import prepare_storage
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.support.database import Database
from tests.support.usage import add_customer, open_books


def test_saving_replaces_a_figure_of_the_same_name_and_keeps_the_others(tmp_path: Path) -> None:
    save([Figure("a", 1.0, "s", 5), Figure("b", 2.0, "s", 5)], {"fsync": "on"}, tmp_path)
    save([Figure("b", 3.0, "s", 5, details={"rates": [1, 2]})], {"fsync": "on"}, tmp_path)
    body = json.loads((tmp_path / "results.json").read_text())
    assert [(row["name"], row["median"]) for row in body["figures"]] == [("a", 1.0), ("b", 3.0)]
    assert body["figures"][1]["details"] == {"rates": [1, 2]}
    assert body["settings"] == {"fsync": "on"}


def test_the_page_names_what_is_missed(tmp_path: Path) -> None:
    slow = Figure("slow", 10.0, "events/s", 5, "yardstick", 0.1, "≥ 0.35", met=False)
    fast = Figure("fast", 5000.0, "events/s", 5, "yardstick", 0.5, "≥ 0.35", met=True)
    save([slow, fast], {"fsync": "on"}, tmp_path)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| slow | 10.000 | events/s | yardstick | 0.100 | ≥ 0.35 | NO |" in page
    assert "| fast | 5,000 | events/s | yardstick | 0.500 | ≥ 0.35 | yes |" in page
    assert "- fsync: on" in page


def test_a_target_of_two_halves_needs_both() -> None:
    marks = FORMS["kafka-ndjson"].marks
    assert marks.met(450_000, 0.65)
    assert not marks.met(449_999, 0.65)
    assert not marks.met(450_000, 0.649)
    assert FORMS["kafka-random"].marks.met(170_000, 0.001)
    assert FORMS["kafka-ndjson-100000"].marks.met(1, 0.001) is None


def test_memory_is_flat_where_the_second_half_peaks_within_a_tenth_of_the_first() -> None:
    span = Span(events=100, first=2.0, last=4.0, worker_s=0, postgres_s=0, broker_s=0)
    assert span.rate == 50
    assert Run(span, [100, 200, 220, 150], 1.0, 221, 221).is_flat()
    assert not Run(span, [100, 200, 221, 150], 1.0, 221, 221).is_flat()


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 99) == 99
    assert percentile(values, 50) == 50
    assert percentile([3.0], 99) == 3


def test_a_scaled_size_is_a_multiple_and_never_nothing() -> None:
    assert scaled(1_000_000, 1_400) % 1_400 == 0
    assert scaled(1, 1_400) == 1_400


async def test_the_flow_counts_every_event_and_the_yardstick_copies_what_it_stored(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    for customer in events.customers()[:3]:
        await add_customer(worker, customer)
    known = [
        batch
        for batch in events.sequenced(40, record_events=1)
        if any(b'"%s"' % name.encode() in batch.body for name in events.customers()[:3])
    ]
    assert known
    assert await ingest.store(worker, known, DirectoryCache()) > 0
    await check_stored(database, len(known))
    assert await yardstick(database) > 0
    superuser = await connect(database.superuser_url)
    try:
        assert await superuser.fetchval("SELECT count(*) FROM yardstick") == len(known)
    finally:
        await superuser.close()
    with pytest.raises(ValueError, match="sent"):
        await check_stored(database, len(known) + 1)


def test_a_figure_that_is_kept_says_what_was_different_when_it_was_measured(tmp_path: Path) -> None:
    save([Figure("a", 1.0, "s", 5)], {"fsync": "on", "shared_buffers": "1GB"}, tmp_path)
    save([Figure("b", 2.0, "s", 5)], {"fsync": "on", "shared_buffers": "4GB"}, tmp_path)
    save([Figure("c", 3.0, "s", 5)], {"fsync": "on", "shared_buffers": "4GB"}, tmp_path)
    rows = json.loads((tmp_path / RESULTS).read_text())["figures"]
    assert [row["differs"] for row in rows] == [{"shared_buffers": "1GB"}, {}, {}]
    assert all(row["date"] for row in rows)
    assert "- shared_buffers, then: 1GB" in (tmp_path / TABLE).read_text()
