"""Metrics on an address of their own, for a network that may read them without a key."""

from prometheus_client import start_http_server

from ledger import metrics
from ledger.domain.errors import UnavailableError
from ledger.settings import Settings


def serve_metrics(settings: Settings, *, transport: str) -> None:
    """Serve Prometheus text where `metrics_port` says, if it does; UnavailableError where taken."""
    if settings.metrics_port is None:
        return
    metrics.expect(transport)
    host, port = settings.metrics_host, settings.metrics_port
    try:
        start_http_server(port, host)
    except OSError as error:
        raise UnavailableError(
            f"{host}:{port} cannot be used for metrics ({error.strerror}).", "Name another."
        ) from error
