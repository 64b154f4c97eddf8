"""`tokenledger api`: the HTTP API on one host and port."""

import sys

import click

from ledger.commands.options import PORT
from ledger.domain.errors import MissingInputError
from ledger.settings import Settings
from ledger.stream.memory import collect_rarely, frames_in_a_thread, share_heaps
from ledger.wire.secrets import log_to_stderr

# As uvicorn ends where the application could not start.
NOT_STARTED = 3


@click.command()
@click.option("--host", help="Address to listen on (TOKENLEDGER_HOST).")
@click.option("--port", type=PORT, help="Port to listen on (TOKENLEDGER_PORT).")
def api(host: str | None, port: int | None) -> None:
    """Serve the HTTP API on TOKENLEDGER_WORKER_URL and TOKENLEDGER_API_URL."""
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = Settings(**given)  # type: ignore[arg-type]
    for name in ("worker_url", "api_url"):
        if getattr(settings, name) is None:
            raise MissingInputError(
                f"TOKENLEDGER_{name.upper()} is not set.",
                "Set it, or use `tokenledger up`, which brings its own database.",
            )
    assert settings.worker_url is not None
    log_to_stderr(settings.log_level)
    share_heaps()
    frames_in_a_thread()
    from ledger.api.app import create_app
    from ledger.api.server import Server, server_config
    from ledger.api.state import Beside
    from ledger.commands.serve.background import watch
    from ledger.commands.serve.database import check_start
    from ledger.commands.serve.intake_process import intake_process
    from ledger.commands.serve.metrics_address import serve_metrics
    from ledger.commands.serve.report_process import report_process

    check_start(settings.worker_url)
    serve_metrics(settings, transport="http")
    with (
        watch(settings.worker_url, frozen_s=settings.frozen_seconds),
        intake_process(settings) as intake,
        report_process(settings) as reports,
    ):
        app = create_app(settings, beside=Beside(reports, intake))
        config = server_config(
            app, settings, host=settings.host, port=settings.port, log_config=None
        )
        server = Server(config)
        # Of the application too nothing is looked at again.
        collect_rarely()
        server.run()
    if not server.started:
        sys.exit(NOT_STARTED)
