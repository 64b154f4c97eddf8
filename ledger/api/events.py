"""POST /v1/events: events of any kind, in any of the bodies people send, an answer per item."""

import zlib
from contextlib import suppress
from functools import lru_cache
from typing import Any

from litestar import Request, Response, post
from litestar.exceptions import HTTPException

from ledger.api.access import SENDERS, Caller, caller_of
from ledger.api.answer import JSON, encode
from ledger.api.intake import Intake
from ledger.api.problems import (
    BodyTooLargeError,
    MalformedBodyError,
    UnsupportedMediaError,
)
from ledger.api.state import state_of
from ledger.domain.errors import LedgerError
from ledger.domain.fact import Fate
from ledger.domain.ingest.record import OUTCOMES, ItemOutcome, Permission, Record, RecordOutcome
from ledger.wire.batch import COLUMNAR, ENCODINGS, NDJSON, BatchHeader
from ledger.wire.errors import WireError

MEDIA_TYPES = frozenset(
    {
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/x-ndjson",
        "application/json",
        ENCODINGS[COLUMNAR],
    }
)
GZIP_WINDOW = zlib.MAX_WBITS | 16
# What is said of items that counted is kept ready, for so many at once.
STEP = 1_024


@post("/v1/events", roles=SENDERS, status_code=200)
async def post_events(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Store events; safe to repeat. One event, an array, NDJSON or columns; gzip where it is named.

    With the six tl-* headers the body is a numbered batch of a sequenced source.
    """
    intake = state_of(request).intake
    try:
        with intake.holding(_size(request, intake.limits.body_bytes_max)):
            return await _store(request, intake)
    except (LedgerError, WireError):
        await _pass_over(request)
        raise


async def _pass_over(request: Request[Any, Any, Any]) -> None:
    """Let a refused body come in, keeping nothing: who still sends does not read why it is refused,
    and would take the closed connection for a failure of the network."""
    with suppress(HTTPException):
        async for _ in request.stream():
            pass


def _size(request: Request[Any, Any, Any], limit: int) -> int:
    """How many bytes a body may come to; who compresses may send as many as one may."""
    said = request.headers.get("content-length", "")
    plain = request.headers.get("content-encoding", "identity").strip().lower() == "identity"
    return min(int(said), limit) if plain and said.isdigit() else limit


async def _store(request: Request[Any, Any, Any], intake: Intake) -> Response[bytes]:
    encoding = _encoding(request.headers.get("content-type", ""))
    header = BatchHeader.from_headers(dict(request.headers.items()))
    body = await _read_body(request, intake.limits.body_bytes_max)
    record = Record(
        body=body,
        header=header,
        transport="http",
        position=str(request.scope.get("request_id", "")),
        actor=caller_of(request).key_id,
        permission=_permission(caller_of(request)),
        encoding=encoding,
    )
    return _shown(await intake.store(record))


def _encoding(content_type: str) -> str:
    """What a body without tl-* headers is written in."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMediaError(
            f"Content-Type: found {media_type or 'nothing'}.",
            f"Send one of {', '.join(sorted(MEDIA_TYPES))}.",
        )
    return COLUMNAR if media_type == ENCODINGS[COLUMNAR] else NDJSON


async def _read_body(request: Request[Any, Any, Any], limit: int) -> bytes:
    body = await request.body()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "gzip":
        body = _gunzip(body, limit)
    elif encoding != "identity":
        raise UnsupportedMediaError(f"Content-Encoding: found {encoding}.", "Send gzip or none.")
    if len(body) > limit:
        raise BodyTooLargeError(
            f"The body has {len(body)} bytes, over the limit of {limit}.", "Send smaller batches."
        )
    if not body.strip():
        raise MalformedBodyError("The body is empty.", "Send at least one event.")
    return body


def _gunzip(body: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj(GZIP_WINDOW)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedBodyError(f"The body is not gzip: {error}.", "Compress it again.") from error
    if len(plain) > limit:
        raise BodyTooLargeError(
            f"The body holds more than {limit} bytes once decompressed.", "Send smaller batches."
        )
    if not stream.eof:
        raise MalformedBodyError("The gzip body ends too early.", "Send it whole.")
    return plain


def _permission(caller: Caller) -> Permission | None:
    if caller.role == "admin":
        return None
    return Permission(frozenset(caller.sources), frozenset(caller.customers))


def _shown(outcome: RecordOutcome) -> Response[bytes]:
    """What became of a body, item by item."""
    head = encode(
        {
            "received": outcome.received,
            "batch_seq": outcome.batch_seq,
            "counts": {str(fate): count for fate, count in outcome.counts.items()},
        }
    )
    items = [one for n in range(0, outcome.received, STEP) for one in _created(n)]
    for ordinal, item in outcome.exceptions.items():
        items[ordinal] = encode(_item(item))
    body = b'%s,"items":[%s]}' % (head[:-1], b",".join(items[: outcome.received]))
    return Response(body, status_code=200, media_type=JSON)


@lru_cache(256)
def _created(first: int) -> tuple[bytes, ...]:
    counted = OUTCOMES[Fate.COUNTED]
    return tuple(encode(_item(ItemOutcome(n, counted))) for n in range(first, first + STEP))


def _item(item: ItemOutcome) -> dict[str, Any]:
    return {
        "ordinal": item.ordinal,
        "outcome": item.outcome,
        **({"id": item.event_id} if item.event_id else {}),
        **({"reason": str(item.reason), "detail": item.detail} if item.reason else {}),
    }
