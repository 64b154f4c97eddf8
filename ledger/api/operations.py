"""Whether it lives, whether it can serve, what it measures."""

from datetime import timedelta
from typing import Any

from litestar import Request, Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ledger import clock, metrics
from ledger.api.access import PUBLIC
from ledger.api.answer import answer
from ledger.api.state import state_of
from ledger.store import api_reads, operations

# What the ledger knows is read from all its receipts: not at every scrape.
MEASURED_EVERY = timedelta(seconds=60)


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
async def show_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Prometheus text: what this process did, and every so often what the ledger knows."""
    state = state_of(request)
    if clock.now() - state.measured_at >= MEASURED_EVERY:
        state.measured_at = clock.now()
        async with state.worker.acquire() as connection:
            sources = map(dict, await operations.list_source_states(connection))
            gaps = map(dict, await operations.list_sequence_gaps(connection))
            metrics.show_ledger(sources, gaps, await operations.count_quarantined(connection))
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


HANDLERS = (healthz, readyz, show_metrics)
