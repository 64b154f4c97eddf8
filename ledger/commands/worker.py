"""`tokenledger worker`: events from Kafka into the books, and the stages in the background."""

import asyncio
import logging
import signal
from contextlib import ExitStack

import click
import uvloop
from prometheus_client import start_http_server

from ledger.domain.errors import MissingInputError, UnavailableError
from ledger.settings import Settings
from ledger.stream.memory import collect_rarely, frames_in_one_thread, share_heaps


@click.command()
@click.option("--no-settle", is_flag=True, help="Only store what arrives; settle elsewhere.")
@click.option("--metrics-port", type=click.IntRange(1, 65_535), help="Serve Prometheus text there.")
@click.option("--metrics-host", help="Address to serve it on; this host alone without one.")
def worker(no_settle: bool, metrics_port: int | None, metrics_host: str | None) -> None:
    """Read events from Kafka, store them, and keep allocation, rating and journal up to date.

    Several workers share the partitions; one of them at least should settle.
    """
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for name in ("worker_url", "kafka_bootstrap"):
        if getattr(settings, name) is None:
            raise MissingInputError(f"TOKENLEDGER_{name.upper()} is not set.", "Set it.")
    assert settings.worker_url is not None
    share_heaps()
    frames_in_one_thread()
    from ledger.commands.background import background, watch

    port = metrics_port or settings.metrics_port
    if port is not None:
        _serve_metrics(metrics_host or settings.metrics_host, port)
    with ExitStack() as stack:
        stack.enter_context(watch(settings.worker_url, frozen_s=settings.frozen_seconds))
        if not no_settle:
            stack.enter_context(background(settings.worker_url, settings.settle_seconds))
        uvloop.run(_until_signal(settings))


def _serve_metrics(host: str, port: int) -> None:
    from ledger import metrics

    metrics.expect("kafka")
    try:
        start_http_server(port, host)
    except OSError as error:
        raise UnavailableError(
            f"{host}:{port} cannot be used for metrics ({error.strerror}).", "Name another."
        ) from error


async def _until_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    from ledger.stream.consumer import run_worker

    collect_rarely()
    await run_worker(settings, stop)
