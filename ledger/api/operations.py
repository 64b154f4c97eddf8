"""Whether it lives, whether it can serve, what it measures."""

from typing import Any

from litestar import Request, Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ledger.api.access import PUBLIC
from ledger.api.answer import answer
from ledger.api.state import state_of
from ledger.store import api_reads


@get("/healthz", roles=PUBLIC)
async def healthz() -> Response[bytes]:
    """The process answers."""
    return answer({"status": "ok"})


@get("/readyz", roles=PUBLIC)
async def readyz(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The database answers too, and has its schema."""
    async with state_of(request).worker.acquire() as connection:
        await api_reads.is_ready(connection)
    return answer({"status": "ready"})


@get("/metrics", roles=PUBLIC)
async def show_metrics() -> Response[bytes]:
    """Prometheus text: what this process did, and what it last learnt of the ledger."""
    # Nobody is asked: it answers while the database is away, when it is wanted most.
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


HANDLERS = (healthz, readyz, show_metrics)
