"""Batches to a Kafka broker, one record each; the only file here that imports kafka."""

from collections.abc import Sequence
from typing import Any

from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient
from kafka.producer import KafkaProducer

from collectors.errors import PublishError
from collectors.refused import OnRefused
from collectors.settings import KafkaSettings
from ledger.wire.batch import MAX_BATCH_BYTES, Batch

KAFKA_TIMEOUT_S = 60


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
        # Figures of its own that nobody asks for; ours are in /metrics.
        "metrics_enabled": False,
        "security_protocol": settings.security_protocol,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": settings.sasl_password,
        "ssl_check_hostname": True,
        "ssl_cafile": _text(settings.ssl_cafile),
        "ssl_certfile": _text(settings.ssl_certfile),
        "ssl_keyfile": _text(settings.ssl_keyfile),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
