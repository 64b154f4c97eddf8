"""Counters of an inference server from its /metrics to the ledger: nothing scraped is lost."""

import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collectors.scrape import Scraper
from collectors.settings import ScrapeTarget
from ledger.domain.metering.engine_counter import counter_deltas
from ledger.domain.metering.reconcile import METRICS
from ledger.domain.metering.record import Record
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import ingest, prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.store.energy.meter import find_engine_counters
from ledger.store.queries import Connection
from ledger.wire.batch import BatchHeader
from ledger.wire.ndjson import batch_events

FILES = ("vllm.prom", "vllm-t1.prom", "vllm-t2-restart.prom")
SCRAPED = tuple(
    datetime.fromtimestamp(at, UTC) for at in (1_786_000_030, 1_786_000_090, 1_786_000_105)
)
INSTANCE = "pod-uid-1"


@pytest.fixture
def metrics(shared_data: Path) -> Iterator[str]:
    """A server whose /metrics gives the three expositions, one after the other."""
    bodies = iter([(shared_data / "metrics" / name).read_bytes() for name in FILES])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(next(bodies))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()
        thread.join()


@pytest.mark.shared_data
async def test_a_restart_between_scrapes_loses_no_token_that_was_scraped(
    worker: Connection, metrics: str
) -> None:
    now = SCRAPED[-1] + timedelta(minutes=1)
    target = ScrapeTarget(engine="vllm", url=metrics, instance=INSTANCE)
    with closing(Scraper.of(target)) as scraper:
        events = [scraper.scrape(now=at, timeout_s=5).to_event(recorded_at=at) for at in SCRAPED]
    first = BatchHeader(source="/hosts/a", producer="a", epoch=1, sequence=1, count=1)
    records = [Record(batch.body, batch.header) for batch in batch_events(events, first=first)]
    await prepare_storage(worker, now=now)
    (outcome,) = await ingest(
        worker, records, directory=DirectoryCache(), now=now, limits=IngestLimits()
    )
    assert outcome.received == 3
    assert all(item.outcome == "created" for item in outcome.items())

    samples = await find_engine_counters(
        worker,
        engine_instance=INSTANCE,
        metrics=METRICS,
        since=SCRAPED[0] - timedelta(hours=1),
        until=now,
        batch_seq=2**62,
    )
    grown: Counter[tuple[str, datetime]] = Counter()
    for delta in counter_deltas(samples):
        grown[delta.metric, delta.until] += int(delta.delta)
    counted = ("prompt_tokens", "prompt_tokens_cached", "generation_tokens")
    assert [grown[name, SCRAPED[1]] for name in counted] == [57_004, 18_816, 8_883]
    assert [grown[name, SCRAPED[2]] for name in counted] == [9_081, 4_176, 1_742]
    runs = {sample.run_id: sample.run_started_at for sample in samples}
    assert len(runs) == 2
    assert datetime.fromtimestamp(1_786_000_095, UTC) in runs.values()
