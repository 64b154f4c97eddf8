"""Where batches go: what is not confirmed is an error. A way is imported where it is chosen."""

from collections.abc import Sequence
from typing import Protocol

from collectors.errors import CollectSettingsError
from collectors.put_off import put_off
from collectors.refused import OnRefused
from collectors.settings import CollectSettings
from ledger.wire.batch import Batch


class Publisher(Protocol):
    """Sends batches in order; returns only when all of them are confirmed, else raises.

    What the other side confirmed and says that it did not count is handed to `on_refused`.
    """

    def publish(self, batches: Sequence[Batch], on_refused: OnRefused) -> None: ...

    def close(self) -> None: ...


def open_publisher(settings: CollectSettings) -> Publisher:
    """The destination the settings name."""
    if settings.kafka is not None:
        # Its consumer and its administration are a twentieth of what such a daemon may take.
        put_off("kafka")
        from collectors.to_kafka import KafkaPublisher

        return KafkaPublisher(settings.kafka)
    if settings.http is not None:
        from collectors.to_http import HttpPublisher

        return HttpPublisher(settings.http)
    raise CollectSettingsError("no destination; set kafka.bootstrap, or http.url and http.api_key")
