"""`tokenledger worker`: events from Kafka into the books, and the stages in the background."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import click
import uvloop

from ledger.domain.errors import MissingInputError
from ledger.settings import Settings
from ledger.stream.memory import collect_rarely, frames_in_a_thread, share_heaps
from ledger.wire.secrets import log_to_stderr


@click.command()
@click.option("--no-settle", is_flag=True, help="Only store what arrives; settle elsewhere.")
@click.option(
    "--processes",
    "worker_processes",
    type=click.IntRange(1, 64),
    help="Processes that share its partitions; as many as processors, at most 4, without one.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65_535),
    help="Serve Prometheus text there; each further process a port further.",
)
@click.option("--metrics-host", help="Address to serve it on; this host alone without one.")
def worker(no_settle: bool, **given: int | str | None) -> None:
    """Read events from Kafka, store them, and keep allocation, rating and journal up to date.

    Several workers share the partitions; one of them at least should settle.
    """
    settings = Settings(**{n: v for n, v in given.items() if v is not None})  # type: ignore[arg-type]
    log_to_stderr(settings.log_level)
    for name in ("worker_url", "kafka_bootstrap"):
        if getattr(settings, name) is None:
            raise MissingInputError(f"TOKENLEDGER_{name.upper()} is not set.", "Set it.")
    assert settings.worker_url is not None
    share_heaps()
    frames_in_a_thread()
    from ledger.commands.serve.database import check_start
    from ledger.commands.serve.metrics_address import serve_metrics
    from ledger.commands.serve.worker_processes import worker_processes

    check_start(settings.worker_url)
    serve_metrics(settings, transport="kafka")
    # The others load what they need while this one does, so that all join the group together.
    with worker_processes(settings), _background(settings, settles=not no_settle):
        uvloop.run(_until_signal(settings))


@contextmanager
def _background(settings: Settings, *, settles: bool) -> Iterator[None]:
    from ledger.commands.serve.background import background, watch

    assert settings.worker_url is not None
    with ExitStack() as stack:
        stack.enter_context(watch(settings.worker_url, frozen_s=settings.frozen_seconds))
        if settles:
            stack.enter_context(
                background(
                    settings.worker_url,
                    settings.settle_seconds,
                    webhooks_inside=settings.webhooks_inside,
                )
            )
        yield


async def _until_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    from ledger.stream.consumer import run_worker

    collect_rarely()
    await run_worker(settings, stop)
