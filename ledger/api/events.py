"""POST /v1/events: events of any kind, in any of the bodies people send, an answer per item."""

from functools import lru_cache

from litestar import Response, post

from ledger.api.access import BY_NAMES, SENDERS, caller_of
from ledger.api.answer import JSON, encode
from ledger.api.body import whole_body
from ledger.api.problems import (
    PROBLEM_JSON,
    BodyTooLargeError,
    MalformedBodyError,
    UnsupportedMediaError,
)
from ledger.api.request import ApiRequest
from ledger.api.state import WAIT_S, state_of
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import Fate
from ledger.domain.metering.lines import ITEMS_MAX, too_many_items
from ledger.domain.metering.permission import Binding, Permission
from ledger.domain.metering.record import OUTCOMES, ItemOutcome, Record, RecordOutcome
from ledger.wire.batch import COLUMNAR, ENCODINGS, NDJSON, BatchHeader

MEDIA_TYPES = frozenset(
    {
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/x-ndjson",
        "application/json",
        ENCODINGS[COLUMNAR],
    }
)
# What is said of items that counted is kept ready, for so many at once.
STEP = 1_024
REFUSED = (Fate.QUARANTINED, Fate.CONFLICT)


@post("/v1/events", roles=SENDERS, bound=BY_NAMES, status_code=200)
async def post_events(request: ApiRequest) -> Response[bytes]:
    """Store events; safe to repeat. One event, an array, NDJSON or columns; gzip where it is named.

    With the six tl-* headers the body is a numbered batch of a sequenced source. Where every item
    was refused or conflicts, the answer is 422 with the same items; they are kept, do not repeat.
    `unknown` names attributes of the data that nobody reads: they are dropped, and nothing in them
    is counted.
    """
    if "ce-specversion" in request.headers:
        raise UnsupportedMediaError(
            "ce-specversion: found attributes as headers, CloudEvents' binary mode.",
            "Send structured mode, application/cloudevents+json: both in one object.",
        )
    encoding = _encoding(request.headers.get("content-type", ""))
    header = BatchHeader.from_headers(dict(request.headers.items()))
    body = await whole_body(request)
    if not body.strip():
        raise MalformedBodyError("The body is empty.", "Send at least one event.")
    if header is None and encoding == NDJSON and too_many_items(body):
        raise BodyTooLargeError(
            f"The body has more than {ITEMS_MAX} items.", "Send smaller batches."
        )
    record = Record(
        body=body,
        header=header,
        transport="http",
        position=str(request.scope.get("request_id", "")),
        actor=caller_of(request).key_id,
        permission=await _permission(request),
        encoding=encoding,
    )
    outcome = await state_of(request).intake.store(record)
    await state_of(request).pace.admitted()
    return _shown(outcome, str(request.scope.get("request_id", "")))


def _encoding(content_type: str) -> str:
    """What a body without tl-* headers is written in."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMediaError(
            f"Content-Type: found {media_type or 'nothing'}.",
            f"Send one of {', '.join(sorted(MEDIA_TYPES))}.",
        )
    return COLUMNAR if media_type == ENCODINGS[COLUMNAR] else NDJSON


async def _permission(request: ApiRequest) -> Permission | None:
    caller, state = caller_of(request), state_of(request)
    sources = None if caller.role == "admin" else frozenset(caller.sources)
    binding = Binding(sources, frozenset(caller.customers), caller.entity_id or "")
    if binding == Binding(None):
        return None
    if caller.entity_id is None:
        return binding.permission(Directory())
    async with state.keys.pool.acquire(timeout=WAIT_S) as connection:
        return binding.permission(await state.directory.read(connection))


def _shown(outcome: RecordOutcome, request_id: str) -> Response[bytes]:
    """What became of a body, item by item; a problem where nothing of it was taken."""
    refused = outcome.received > 0 and sum(outcome.counts[fate] for fate in REFUSED) == (
        outcome.received
    )
    head = encode(
        {
            **(_refusal(outcome, request_id) if refused else {}),
            "received": outcome.received,
            "batch_seq": outcome.batch_seq,
            "counts": {str(fate): count for fate, count in outcome.counts.items()},
            **({"unknown": dict(outcome.unknown)} if outcome.unknown else {}),
        }
    )
    items = [created for n in range(0, outcome.received, STEP) for created in _created(n)]
    for ordinal, item in outcome.exceptions.items():
        items[ordinal] = encode(_item(item))
    body = b'%s,"items":[%s]}' % (head[:-1], b",".join(items[: outcome.received]))
    if refused:
        return Response(body, status_code=422, media_type=PROBLEM_JSON)
    return Response(body, status_code=200, media_type=JSON)


def _refusal(outcome: RecordOutcome, request_id: str) -> dict[str, object]:
    first = outcome.exceptions[min(outcome.exceptions)]
    why = f"{first.reason}: {first.detail}" if first.reason else f"it is a {first.outcome}"
    return {
        "type": "urn:tokenledger:problem:nothing-counted",
        "title": "Nothing counted",
        "status": 422,
        "detail": f"None of {outcome.received} items was counted; item {first.ordinal}: {why}.",
        "instance": f"urn:request:{request_id}",
    }


@lru_cache(256)
def _created(first: int) -> tuple[bytes, ...]:
    counted = OUTCOMES[Fate.COUNTED]
    return tuple(encode(_item(ItemOutcome(n, counted))) for n in range(first, first + STEP))


def _item(item: ItemOutcome) -> dict[str, object]:
    return {
        "ordinal": item.ordinal,
        "outcome": item.outcome,
        **({"id": item.event_id} if item.event_id else {}),
        **({"reason": str(item.reason), "detail": item.detail} if item.reason else {}),
    }
