"""Batches to a Kafka broker or to a ledger's HTTP ingest; what is not confirmed is an error.

The only file here that imports kafka.
"""

import http.client
import json
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from collectors.errors import CollectSettingsError, PublishError
from collectors.refused import Refusal
from collectors.settings import CollectSettings, HttpSettings, KafkaSettings
from ledger.wire.batch import ENCODINGS, MAX_BATCH_BYTES, Batch

INGEST_PATH = "/v1/events"
HTTP_TIMEOUT_S = 30
KAFKA_TIMEOUT_S = 60
RETRY_AFTER_S_MAX = 300
REPLY_BYTES_SHOWN = 300
# What a batch is answered with that would be answered so for ever: it goes aside, the next is sent.
FOR_GOOD = frozenset({400, 409, 413, 415, 422})
UNCOUNTED = frozenset({"rejected", "conflict"})
OnRefused = Callable[[Refusal], None]


class Publisher(Protocol):
    """Sends batches in order; returns only when all of them are confirmed, else raises.

    What the other side confirmed and says that it did not count is handed to `on_refused`.
    """

    def publish(self, batches: Sequence[Batch], on_refused: OnRefused) -> None: ...

    def close(self) -> None: ...


class KafkaPublisher:
    """One record a batch, keyed by producer, so that one producer's batches share a partition."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._topic = settings.topic
        self._settings = settings
        self._producer: Any = None

    def publish(self, batches: Sequence[Batch], on_refused: OnRefused) -> None:  # noqa: ARG002
        """Send all, then wait for every one: the broker's in-sync replicas have them.

        A broker does not read what it keeps, so that it refuses nothing.
        """
        try:
            producer = self._connected()
            sent = [self._send(producer, batch) for batch in batches]
            producer.flush(timeout=KAFKA_TIMEOUT_S)
            for future in sent:
                future.get(timeout=KAFKA_TIMEOUT_S)
        except KafkaError as error:
            # What the client still holds must not go out behind a resend, in another order.
            self.close()
            raise PublishError(f"kafka {self._settings.bootstrap}: {error!r}") from error

    def close(self) -> None:
        """Drop the connection; unconfirmed batches are in the spool."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=0)

    def _connected(self) -> Any:
        if self._producer is None:
            self._producer = _connect(self._settings)
        return self._producer

    def _send(self, producer: Any, batch: Batch) -> Any:
        return producer.send(
            self._topic,
            key=batch.header.producer.encode(),
            value=batch.body,
            headers=batch.header.to_headers(),
        )


class HttpPublisher:
    """One POST a batch over a connection that is kept."""

    def __init__(self, settings: HttpSettings) -> None:
        self._url = urlsplit(settings.url)
        if self._url.scheme not in {"http", "https"} or not self._url.hostname:
            raise CollectSettingsError(f"http.url {settings.url!r}: write http(s)://host[:port]")
        self._key = settings.api_key.get_secret_value()
        self._connection: http.client.HTTPConnection | None = None

    def publish(self, batches: Sequence[Batch], on_refused: OnRefused) -> None:
        """Send one after the other; each answer confirms a batch, refuses it, or is an error."""
        for batch in batches:
            try:
                refusal = self._post(batch)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise PublishError(f"{self._url.geturl()}: {error!r}") from error
            if refusal is not None:
                on_refused(refusal)

    def close(self) -> None:
        """Drop the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, batch: Batch) -> Refusal | None:
        reused = self._connection is not None
        try:
            reply = self._request(batch)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            if not reused:
                raise
            # The ledger ended an idle connection; a batch it read after all is a duplicate.
            self.close()
            reply = self._request(batch)
        body = reply.read()
        said = f"{reply.status} {reply.reason}: {body[:REPLY_BYTES_SHOWN]!r}"
        taken = 200 <= reply.status < 300
        if taken or reply.status in FOR_GOOD:
            return _refusal(batch, body, None if taken else said)
        self.close()
        raise PublishError(
            f"{self._url.geturl()}: batch {batch.header.sequence} answered {said}",
            retry_after_s=_retry_after(reply.getheader("Retry-After")),
        )

    def _request(self, batch: Batch) -> http.client.HTTPResponse:
        connection = self._connected()
        path = self._url.path.rstrip("/") + INGEST_PATH
        connection.request("POST", path, body=batch.body, headers=self._headers(batch))
        return connection.getresponse()

    def _headers(self, batch: Batch) -> dict[str, str]:
        return {
            **batch.header.to_fields(),
            "Content-Type": ENCODINGS[batch.header.encoding],
            "Authorization": f"Bearer {self._key}",
        }

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._url.hostname or "", self._url.port
            if self._url.scheme == "https":
                self._connection = http.client.HTTPSConnection(
                    host, port, timeout=HTTP_TIMEOUT_S, context=ssl.create_default_context()
                )
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=HTTP_TIMEOUT_S)
        return self._connection


def _refusal(batch: Batch, body: bytes, answered: str | None) -> Refusal | None:
    """What an answer says was not counted; `answered` is said of a batch refused as a whole."""
    try:
        items = json.loads(body).get("items", [])
        reasons = {
            int(item["ordinal"]): f"{item.get('reason', item['outcome'])}: {item.get('detail', '')}"
            for item in items
            if item["outcome"] in UNCOUNTED
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        # A proxy's words, or those of a ledger to come: the status alone decides.
        reasons = {}
    if reasons:
        return Refusal(batch.header.sequence, reasons)
    return None if answered is None else Refusal(batch.header.sequence, {}, answered)


def open_publisher(settings: CollectSettings) -> Publisher:
    """The destination the settings name."""
    if settings.kafka is not None:
        return KafkaPublisher(settings.kafka)
    if settings.http is not None:
        return HttpPublisher(settings.http)
    raise CollectSettingsError("no destination; set kafka.bootstrap, or http.url and http.api_key")


def _connect(settings: KafkaSettings) -> Any:
    """A producer that has reached a broker; a failed try leaves nothing running behind."""
    clients: list[Any] = []

    def remembered(**options: Any) -> Any:
        clients.append(KafkaNetClient(**options))
        return clients[-1]

    try:
        return KafkaProducer(kafka_client=remembered, **_kafka_options(settings))
    except KafkaError:
        # The constructor drops its client unclosed, with its selector and its wake-up sockets.
        for client in clients:
            client.close()
        raise


def _kafka_options(settings: KafkaSettings) -> dict[str, Any]:
    """Every option that decides whether a batch can be lost, repeated, reordered or refused."""
    password = settings.sasl_password
    return {
        "bootstrap_servers": settings.bootstrap,
        "acks": "all",
        "enable_idempotence": True,
        "max_in_flight_requests_per_connection": 5,
        "compression_type": "lz4",
        "batch_size": MAX_BATCH_BYTES,
        "linger_ms": 0,
        # The limit is on the record as encoded: headers and framing come on top of the body.
        "max_request_size": MAX_BATCH_BYTES + 64 * 1024,
        "max_block_ms": 10_000,
        "request_timeout_ms": 30_000,
        "delivery_timeout_ms": KAFKA_TIMEOUT_S * 1_000,
        "bootstrap_timeout_ms": 5_000,
        "allow_auto_create_topics": False,
        "security_protocol": settings.security_protocol,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
        "ssl_check_hostname": True,
        "ssl_cafile": _text(settings.ssl_cafile),
        "ssl_certfile": _text(settings.ssl_certfile),
        "ssl_keyfile": _text(settings.ssl_keyfile),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _retry_after(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:9]), RETRY_AFTER_S_MAX)
