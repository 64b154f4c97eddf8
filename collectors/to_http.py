"""Batches to a ledger's HTTP ingest, one POST each, over a connection that is kept."""

import http.client
import json
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from collectors.errors import CollectSettingsError, PublishError
from collectors.publish import OnRefused
from collectors.refused import Refusal
from collectors.settings import HttpSettings
from collectors.tls import client_context
from ledger.wire.batch import ENCODINGS, Batch

INGEST_PATH = "/v1/events"
HTTP_TIMEOUT_S = 30
RETRY_AFTER_S_MAX = 300
REPLY_BYTES_SHOWN = 300
# What a batch is answered with that would be answered so for ever: it goes aside, the next is sent.
FOR_GOOD = frozenset({400, 409, 413, 415, 422})
UNCOUNTED = frozenset({"rejected", "conflict"})


class HttpPublisher:
    """One POST a batch over a connection that is kept."""

    def __init__(self, settings: HttpSettings) -> None:
        self._url = urlsplit(settings.url)
        if self._url.scheme not in {"http", "https"} or not self._url.hostname:
            raise CollectSettingsError(f"http.url {settings.url!r}: write http(s)://host[:port]")
        self._key = settings.api_key
        self._tls = self._context(settings)
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

    def _context(self, settings: HttpSettings) -> ssl.SSLContext | None:
        if self._url.scheme != "https":
            return None
        return client_context(
            cafile=settings.ssl_cafile,
            certfile=settings.ssl_certfile,
            keyfile=settings.ssl_keyfile,
        )

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._url.hostname or "", self._url.port
            if self._url.scheme == "https":
                self._connection = http.client.HTTPSConnection(
                    host, port, timeout=HTTP_TIMEOUT_S, context=self._tls
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


def _retry_after(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:9]), RETRY_AFTER_S_MAX)
