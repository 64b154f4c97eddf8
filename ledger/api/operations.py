"""Whether it lives, whether it can serve, what it measures."""

from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ledger.api.access import HOUSE, PUBLIC
from ledger.api.answer import answer
from ledger.api.request import ApiRequest
from ledger.api.state import state_of


@get("/healthz", roles=PUBLIC)
async def healthz(request: ApiRequest) -> Response[bytes]:
    """The process answers, and the books can be read."""
    await state_of(request).health.readable.answered()
    return answer({"status": "ok"})


@get("/readyz", roles=PUBLIC)
async def readyz(request: ApiRequest) -> Response[bytes]:
    """The database has its schema, answers, and has room on its disk; events can be stored.

    Beside that: when each piece of background work last succeeded, how often it failed since, and
    how much is parked; names of nobody, because anybody may ask.
    """
    state = state_of(request)
    health = state.health
    await state.intake.ready()
    await health.readable.answered()
    await health.writable.answered()
    return answer({"status": "ready", **await health.standing.answered()})


@get("/metrics", roles=HOUSE)
async def show_metrics() -> Response[bytes]:
    """Prometheus text: what this process did, and what it last learnt of the ledger.

    `TOKENLEDGER_METRICS_PORT` serves it on an address of its own, without a key.
    """
    # What answers puts the charset of a text behind it.
    kind = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")
    return Response(generate_latest(), media_type=kind)


HANDLERS = (healthz, readyz, show_metrics)
