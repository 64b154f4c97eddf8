"""A batch counts as sent only when the other side has said so."""

import gc
import json
import logging
import socket
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaConsumer

from collectors.delivery import Delivery
from collectors.errors import CollectSettingsError, PublishError
from collectors.refused import Refusal, RefusedEvents
from collectors.settings import HttpSettings, KafkaSettings
from collectors.spool import Spool
from collectors.to_http import HttpPublisher
from collectors.to_kafka import KafkaPublisher
from ledger.wire.batch import Batch, BatchHeader
from ledger.wire.limits import ENERGY
from tests.collectors.servers import Receiver, serving
from tests.support.waiting import eventually


def batch(sequence: int) -> Batch:
    header = BatchHeader(source="/s", producer="p", epoch=1, sequence=sequence, count=1)
    return Batch(header, b'{"a":%d}\n' % sequence)


def publisher_to(url: str) -> HttpPublisher:
    return HttpPublisher(HttpSettings(url=url, api_key="k"))


def never(refusal: Refusal) -> None:
    raise AssertionError(refusal)


def test_http_sends_each_batch_with_its_place_and_key() -> None:
    ledger = Receiver()
    with serving(ledger.answer) as url:
        publisher = publisher_to(url)
        publisher.publish([batch(1), batch(2)], never)
        publisher.close()
    assert ledger.batches == [batch(1), batch(2)]
    assert set(ledger.keys) == {"Bearer k"}
    assert set(ledger.paths) == {"/v1/events"}


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        ((429, {"Retry-After": "7"}, b""), 7),
        ((503, {"Retry-After": "99999"}, b""), 300),
        ((401, {}, b"who?"), None),
        ((302, {"Location": "/"}, b""), None),
        # Of whoever else answers at the address: a page, another service, TLS spoken to in clear.
        ((200, {}, b"<html>Welcome to nginx!</html>"), None),
        ((200, {}, b'{"status": "ok"}'), None),
        ((202, {}, b'{"received": 1}'), None),
        ((204, {}, b""), None),
        ((400, {}, b"<html>The plain HTTP request was sent to HTTPS port</html>"), None),
        ((409, {}, b'{"error": "no such index"}'), None),
    ],
)
def test_what_is_not_confirmed_is_an_error_with_the_time_asked_for(
    answer: tuple[int, dict[str, str], bytes], wait_s: int | None
) -> None:
    ledger = Receiver(answers=[answer])
    with serving(ledger.answer) as url, pytest.raises(PublishError) as caught:
        publisher_to(url).publish([batch(1)], never)
    assert caught.value.retry_after_s == wait_s
    assert str(answer[0]) in str(caught.value)
    assert ("http.url" in str(caught.value)) == (b"received" not in answer[2])


def test_a_ledger_that_is_down_is_an_error() -> None:
    with pytest.raises(PublishError, match=r"127\.0\.0\.1:9"):
        publisher_to("http://127.0.0.1:9").publish([batch(1)], never)


def test_a_destination_without_a_host_is_refused() -> None:
    with pytest.raises(CollectSettingsError, match="http"):
        publisher_to("ledger:8000")


def test_the_spool_is_emptied_only_by_confirmation_and_in_order(tmp_path: Path) -> None:
    busy = (429, {"Retry-After": "0"}, b"")
    ledger = Receiver(answers=[busy, busy])
    with (
        serving(ledger.answer) as url,
        Spool(tmp_path, source="/s", producer="p", new_epoch=1) as spool,
    ):
        for _ in range(3):
            spool.append([{"type": ENERGY}])
        delivery = Delivery(spool, publisher_to(url), refused=RefusedEvents(tmp_path))
        delivery.start()
        wait_until_empty(spool, delivery)
        delivery.drain(10)
    assert delivery.failures == 2
    assert [kept.header.sequence for kept in ledger.batches] == [1, 1, 1, 2, 3]
    assert len({kept.body for kept in ledger.batches[:3]}) == 1, "sent again as the same batch"


ITEMS = [
    {"ordinal": 0, "outcome": "created"},
    {"ordinal": 1, "outcome": "rejected", "reason": "forbidden_source", "detail": "not this key's"},
]


def answered(**said: object) -> bytes:
    """What a ledger answers."""
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    ("answer", "refused", "reason"),
    [
        ((200, {}, answered(received=2, items=ITEMS)), 1, "forbidden_source: not this key's"),
        ((422, {}, answered(received=2, items=ITEMS[1:])), 1, "forbidden_source"),
        ((413, {}, b"<html>too large</html>"), 2, "413"),
        ((413, {}, answered(type="urn:tokenledger:problem:body-too-large")), 2, "413"),
        ((400, {}, answered(type="urn:tokenledger:problem:malformed-body", items=5)), 2, "400"),
    ],
)
def test_what_is_refused_for_good_goes_aside_with_its_reason_and_blocks_nothing(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    answer: tuple[int, dict[str, str], bytes],
    refused: int,
    reason: str,
) -> None:
    ledger = Receiver(answers=[answer])
    with (
        serving(ledger.answer) as url,
        Spool(tmp_path, source="/s", producer="p", new_epoch=1) as spool,
    ):
        spool.append([{"type": ENERGY, "n": 0}, {"type": ENERGY, "n": 1}])
        spool.append([{"type": ENERGY, "n": 2}])
        delivery = Delivery(spool, publisher_to(url), refused=RefusedEvents(tmp_path))
        delivery.start()
        wait_until_empty(spool, delivery)
        delivery.drain(10)
    assert (delivery.delivered, delivery.refused) == (3 - refused, refused)
    kept = [json.loads(line) for line in (tmp_path / "refused.ndjson").read_text().splitlines()]
    assert [json.loads(one["event"])["n"] for one in kept] == list(range(2 - refused, 2))
    assert all(one["reason"].startswith(reason) for one in kept)
    assert reason in caplog.text


@pytest.mark.parametrize("bytes_max", [0, 1_000])
def test_refused_events_are_kept_up_to_a_size_and_counted_beyond(
    tmp_path: Path, bytes_max: int
) -> None:
    refused = RefusedEvents(tmp_path, bytes_max)
    for number in range(1, 51):
        refused.add(batch(number), Refusal(number, {}, "no"))
    assert refused.count == 50
    path = tmp_path / "refused.ndjson"
    assert (path.stat().st_size if path.exists() else 0) <= bytes_max


def wait_until_empty(spool: Spool, delivery: Delivery) -> None:

    def empty() -> bool:
        delivery.wake()
        return spool.state().waiting_batches == 0

    eventually(empty, "an empty spool")


def test_kafka_keeps_the_place_as_headers_and_the_producer_as_key(
    kafka_bootstrap: str, kafka_topic: Callable[..., str]
) -> None:
    topic = kafka_topic()
    publisher = KafkaPublisher(KafkaSettings(bootstrap=[kafka_bootstrap], topic=topic))
    publisher.publish([batch(1), batch(2)], never)
    publisher.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka_bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
        group_id=None,
    )
    records = [next(consumer) for _ in range(2)]
    consumer.close()
    assert [record.value for record in records] == [batch(1).body, batch(2).body]
    assert [record.key for record in records] == [b"p", b"p"]
    assert [BatchHeader.from_headers(r.headers) for r in records] == [
        batch(1).header,
        batch(2).header,
    ]


def test_a_broker_that_is_down_is_an_error_that_leaves_no_socket_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Captured log records would keep the client's connections alive.
    caplog.set_level(logging.CRITICAL, logger="kafka")
    before = open_descriptors()
    with pytest.raises(PublishError, match="kafka"):
        KafkaPublisher(KafkaSettings(bootstrap=["127.0.0.1:9"])).publish([batch(1)], never)
    assert open_descriptors() <= before


def open_descriptors() -> int:
    with warnings.catch_warnings():
        # The client itself leaves the sockets of refused connections to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("kept", [False, True])
def test_a_proxy_that_refuses_a_body_unread_is_heard(kept: bool) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    head = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"
    taken = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"received":1}'

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            for answer in [taken, head] if kept else [head]:
                connection.recv(64)
                connection.sendall(answer)
                if answer is taken:
                    connection.recv(65536)
        # Closed with a body that nobody read: the connection is reset.

    thread = threading.Thread(target=serve)
    thread.start()
    refused: list[Refusal] = []
    publisher = publisher_to(f"http://127.0.0.1:{listening.getsockname()[1]}")
    if kept:
        publisher.publish([batch(1)], never)
    large = BatchHeader(source="/s", producer="p", epoch=1, sequence=2, count=1)
    publisher.publish([Batch(large, b" " * 2**20)], refused.append)
    publisher.close()
    thread.join()
    listening.close()
    assert [(one.sequence, one.whole) for one in refused] == [(2, "413 Too Large: b'big'")]
