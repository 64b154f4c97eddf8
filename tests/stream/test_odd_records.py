"""Records of a real broker that other producers write: each costs no other anything."""

import json
from collections.abc import Callable

from kafka import KafkaProducer

from ledger.store.queries import Connection
from tests.stream.test_consumer import running, settings_for, until_received
from tests.support.database import Database
from tests.support.usage import attempt, fates, open_books

BINARY = [("ce_specversion", b"1.0"), ("ce_id", b"b"), ("content-type", b"application/json")]


async def test_tombstones_long_keys_and_binary_mode_cost_only_themselves(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    topic = kafka_topic()
    structured = json.dumps(attempt("structured")).encode()
    records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
        (b"compacted away", None, []),
        (b"k" * 1_000_000, json.dumps(attempt("long key")).encode(), []),
        (None, json.dumps(attempt()["data"]).encode(), [*BINARY]),
        (b"", structured, [*BINARY]),
        (None, json.dumps(attempt("no value")).encode(), [("trace", b""), ("trace", b"\xff")]),
        (None, b"", []),
        (None, json.dumps(attempt("half")).encode(), [("tl-source", b"")]),
        (None, json.dumps(attempt("last")).encode(), []),
    ]
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, acks="all")
    try:
        for key, value, headers in records:
            producer.send(topic, value, key=key, headers=headers, partition=0)
        producer.flush(30)
    finally:
        producer.close()
    async with running(settings_for(database, kafka_bootstrap, topic)):
        await until_received(worker, 6)
    assert await fates(worker) == {"received": 6, "counted": 4, "quarantined": 2}
    refused = await worker.fetch("SELECT reason, detail FROM quarantine ORDER BY detail")
    assert [row["reason"] for row in refused] == ["bad_header", "bad_header"]
    assert refused[0]["detail"].startswith("ce_specversion: found attributes as headers")
    assert "tl-source" in refused[1]["detail"]
    assert await worker.fetchval("SELECT next_offset FROM kafka_position") == len(records)
