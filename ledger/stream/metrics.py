"""What a worker counts about itself, for Prometheus."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from ledger.domain.ingest.record import RecordOutcome

ITEMS = Counter("tokenledger_ingest_items", "Items received, by what became of them", ["fate"])
RECORDS = Counter("tokenledger_ingest_records", "Kafka records stored")
LOST_FENCES = Counter(
    "tokenledger_ingest_fences_lost", "Batches rolled back because another worker had moved on"
)
GAPS = Counter("tokenledger_ingest_gaps", "Stretches of a topic that the broker no longer had")
BATCH_ITEMS = Histogram(
    "tokenledger_ingest_batch_items",
    "Items in one transaction",
    buckets=(1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
)
LAG = Gauge(
    "tokenledger_ingest_lag_records", "Records behind the end of a partition", ["partition"]
)
FRESHNESS = Gauge(
    "tokenledger_ingest_last_commit_timestamp_seconds", "When a batch was last committed"
)


def count_outcomes(found: Iterable[RecordOutcome]) -> None:
    """Add one transaction's outcomes."""
    received = 0
    for outcome in found:
        RECORDS.inc()
        received += outcome.received
        for fate, count in outcome.counts.items():
            ITEMS.labels(fate).inc(count)
    BATCH_ITEMS.observe(received)
