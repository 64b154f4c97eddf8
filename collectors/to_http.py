"""Batches to a ledger's HTTP ingest, one POST each, over a connection that is kept."""

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from collectors.errors import CollectSettingsError, HttpError, PublishError
from collectors.http1 import OK, Connection, Reply
from collectors.refused import OnRefused, Refusal
from collectors.settings import HttpSettings
from collectors.tls import client_context
from ledger.wire.batch import ENCODINGS, Batch

if TYPE_CHECKING:
    from ssl import SSLContext

INGEST_PATH = "/v1/events"
WHO_PATH = "/v1/me"
HTTP_TIMEOUT_S = 30
ANSWER_BYTES_MAX = 16 * 1024 * 1024
RETRY_AFTER_S_MAX = 300
REPLY_BYTES_SHOWN = 300
# What a batch is answered with that would be answered so for ever: it goes aside, the next is sent.
FOR_GOOD = frozenset({400, 409, 413, 415, 422})
# A proxy says this of a body that it will not pass on, and would of the same one again.
TOO_LARGE = 413
PROBLEM = "urn:tokenledger:problem:"
UNCOUNTED = frozenset({"rejected", "conflict"})


class HttpPublisher:
    """One POST a batch over a connection that is kept."""

    def __init__(self, settings: HttpSettings) -> None:
        self._url = urlsplit(settings.url)
        if self._url.scheme not in {"http", "https"} or not self._url.hostname:
            raise CollectSettingsError(f"http.url {settings.url!r}: write http(s)://host[:port]")
        self._key = settings.api_key
        self._connection = Connection(self._url, self._context(settings))

    def publish(self, batches: Sequence[Batch], on_refused: OnRefused) -> None:
        """Send one after the other; each answer confirms a batch, refuses it, or is an error."""
        for batch in batches:
            try:
                refusal = self._post(batch)
            except (OSError, HttpError) as error:
                raise PublishError(f"{self._url.geturl()}: {error!r}") from error
            if refusal is not None:
                on_refused(refusal)

    def whose_key(self) -> dict[str, object]:
        """What the ledger says of the key that is shown: its role, and what it is bound to."""
        try:
            reply = self._ask("GET", WHO_PATH, {})
        except (OSError, HttpError) as error:
            raise PublishError(f"{self._url.geturl()}: {error!r}") from error
        said = _object(reply.body)
        if reply.status != OK or "role" not in said:
            detail = said.get("detail") if _is_of_ledger(said) else "no ledger says that"
            raise PublishError(f"answered {reply.status} {reply.reason}: {detail}")
        return said

    def close(self) -> None:
        """Drop the connection."""
        self._connection.close()

    def _post(self, batch: Batch) -> Refusal | None:
        reply = self._request(batch)
        said = f"{reply.status} {reply.reason}: {reply.body[:REPLY_BYTES_SHOWN]!r}"
        answer = _object(reply.body)
        taken = reply.status == OK and "received" in answer
        if taken or (reply.status in FOR_GOOD and _is_of_ledger(answer)):
            return _refusal(batch, answer, None if taken else said)
        if reply.status == TOO_LARGE:
            return Refusal(batch.header.sequence, {}, said)
        self.close()
        stranger = "" if _is_of_ledger(answer) else "; no ledger says that: look at http.url"
        raise PublishError(
            f"{self._url.geturl()}: batch {batch.header.sequence} answered {said}{stranger}",
            retry_after_s=_retry_after(reply.headers.get("retry-after")),
        )

    def _request(self, batch: Batch) -> Reply:
        told = {**batch.header.to_fields(), "Content-Type": ENCODINGS[batch.header.encoding]}
        # The ledger may have read one that is sent again on a new connection: a duplicate.
        return self._ask("POST", INGEST_PATH, told, batch.body)

    def _ask(self, method: str, path: str, told: dict[str, str], body: bytes = b"") -> Reply:
        return self._connection.ask(
            method,
            self._url.path.rstrip("/") + path,
            {**told, "Authorization": f"Bearer {self._key}"},
            body=body,
            until=time.monotonic() + HTTP_TIMEOUT_S,
            bytes_max=ANSWER_BYTES_MAX,
        )

    def _context(self, settings: HttpSettings) -> "SSLContext | None":
        if self._url.scheme != "https":
            return None
        return client_context(
            cafile=settings.ssl_cafile,
            certfile=settings.ssl_certfile,
            keyfile=settings.ssl_keyfile,
        )


def _object(body: bytes) -> dict[str, object]:
    """An answer's object; empty where it is none, as the page of a proxy or of another service."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_of_ledger(answer: dict[str, object]) -> bool:
    return "received" in answer or str(answer.get("type", "")).startswith(PROBLEM)


def _refusal(batch: Batch, answer: dict[str, object], answered: str | None) -> Refusal | None:
    """What an answer says was not counted; `answered` is said of a batch refused as a whole."""
    items = answer.get("items")
    try:
        reasons = {
            int(item["ordinal"]): f"{item.get('reason', item['outcome'])}: {item.get('detail', '')}"
            for item in (items if isinstance(items, list) else ())
            if item["outcome"] in UNCOUNTED
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        # The words of a ledger to come: the status alone decides.
        reasons = {}
    if reasons:
        return Refusal(batch.header.sequence, reasons)
    return None if answered is None else Refusal(batch.header.sequence, {}, answered)


def _retry_after(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:9]), RETRY_AFTER_S_MAX)
