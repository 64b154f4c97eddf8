"""What counters grew by in a span is found without reading all that was ever scraped."""

import json
import random
from datetime import datetime, timedelta

import pytest

from ledger.domain.metering.engine_counter import CounterDelta, counter_deltas
from ledger.store.connect import connect
from ledger.store.energy.meter import METER, find_engine_counters
from ledger.store.queries import Connection
from tests.support.database import Database
from tests.support.plans import explain
from tests.support.usage import NOW, open_books

FOREVER = timedelta(days=1_000)
ALL = 2**62
INSERT = """
INSERT INTO counter_reading (stored_day, batch_seq, ordinal, source_id, engine, engine_instance,
                             run_id, run_started_at, scraped_at, metric, labels, value)
SELECT $1, n, 0, 1, 'vllm', 'pod', run, began, at, metric, labels::jsonb, value
  FROM unnest($2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[],
              $7::text[], $8::numeric[]) AS u(n, run, began, at, metric, labels, value)
"""
LONG = """
INSERT INTO counter_reading (stored_day, batch_seq, ordinal, source_id, engine, engine_instance,
                             run_id, scraped_at, metric, labels, value)
SELECT $1, n, 0, 1, 'vllm', 'pod', 'r', $2::timestamptz + n * interval '15 s', 'prompt_tokens',
       '{}', n
  FROM generate_series(1, 20000) n
"""


METRICS = ("prompt_tokens", "generation_tokens")


async def scrape(worker: Connection, draw: random.Random) -> list[datetime]:
    """Thirty scrapes, a run anew now and then, with series that come and go; when they were."""
    moments = [NOW + timedelta(minutes=n) for n in range(30)]
    rows, run, value = [], 0, 0
    began = moments[0]
    for n, at in enumerate(moments):
        if draw.random() < 0.2:
            run, value, began = run + 1, 0, at - timedelta(seconds=draw.choice([5, 90]))
        value += draw.randrange(50)
        for metric in METRICS:
            for label in draw.sample("abc", draw.randrange(4)):
                labels = json.dumps({"model": label})
                rows.append((n + 1, f"r{run}", began, at, metric, labels, value))
    await worker.execute(INSERT, NOW.date(), *map(list, zip(*rows, strict=True)))
    return moments


async def grown(
    worker: Connection, since: datetime, until: datetime, *, reach: timedelta, batch_seq: int
) -> list[CounterDelta]:
    """What grew in (since, until], of the counters found from `reach` before it on."""
    samples = await find_engine_counters(
        worker,
        engine_instance="pod",
        metrics=METRICS,
        since=since - reach,
        until=until,
        batch_seq=batch_seq,
    )
    return [one for one in counter_deltas(samples) if since < one.until <= until]


@pytest.mark.parametrize("seed", range(8))
async def test_a_span_shows_what_the_whole_history_shows_of_it(
    worker: Connection, seed: int
) -> None:
    await open_books(worker)
    draw = random.Random(seed)
    moments = await scrape(worker, draw)
    seen = 0
    for _ in range(12):
        since, until = sorted(draw.sample(moments, 2))
        span = (since + draw.choice([timedelta(0), timedelta(seconds=7)]), until)
        for batch_seq in (ALL, 20):
            found = await grown(worker, *span, reach=timedelta(0), batch_seq=batch_seq)
            assert found == await grown(worker, *span, reach=FOREVER, batch_seq=batch_seq)
            seen += len(found)
    assert seen > 20


async def test_a_span_does_not_read_what_was_scraped_before_and_after(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    superuser = await connect(database.superuser_url)
    await superuser.execute(LONG, NOW.date(), NOW - timedelta(hours=84))
    await superuser.execute("ANALYZE counter_reading")
    await superuser.close()
    since = NOW - timedelta(hours=40)
    span = {"since": since, "until": since + timedelta(minutes=10), "batch_seq": ALL}
    query = METER["find_engine_counters"]
    for generic in (False, True):
        asked = {"engine_instance": "pod", "metrics": list(METRICS), **span}
        plan = await explain(worker, query, generic=generic, **asked)
        assert (plan.rows, plan.pages < 300) == (42, True), plan.pages
