"""Runs both factories through the ledger, from events to invoices, and serves the result."""

import asyncio
import json
import logging
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import uvicorn
from rich.console import Console

from ledger import clock
from ledger.api.app import create_app
from ledger.demo import own_fleet, published_day
from ledger.demo.deliver import Ledger, run_collector, usage_batches, write_recording
from ledger.demo.entries import entries
from ledger.demo.figures import Books, read_both, summarise
from ledger.demo.show import Oddities, show
from ledger.domain.author import Author
from ledger.domain.errors import ConflictError
from ledger.domain.money import ZERO, total
from ledger.embedded.postgres import embedded_server
from ledger.exports import EXPORT_FORMATS
from ledger.exports.filenames import file_name
from ledger.flows.billing.document import find_or_render
from ledger.flows.billing.invoice import pending_adjustments
from ledger.flows.billing.run import RunAsk, run_invoices
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.reference.keys import create_api_key
from ledger.flows.reference.resources import enter_of
from ledger.flows.settle import settle
from ledger.reports.books.export import BooksOf, export_file
from ledger.settings import Settings
from ledger.store import operations
from ledger.store.billing.invoice import list_invoices
from ledger.store.connect import connect, draw_cut_off
from ledger.store.migrate import migrate
from ledger.store.queries import Connection
from ledger.store.roles import API, OWNER, WORKER, bootstrap_roles
from ledger.wire.inputs import NewApiKey, read_input

SEED = 20_241_027
AUTHOR = Author("demo", "the demo's two factories", "demo")
MARK = "made-by-tokenledger-demo"
EXPORTS = (
    "journal_lines",
    "invoices",
    "invoice_lines",
    "invoice_taxes",
    "usage",
    "costs",
    "margins",
)
LATE_BUYER = "sub-fjord-bank"


class Story:
    """Says what is happening, with the time it took."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.perf_counter()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """One step of the way through."""
        began = time.perf_counter()
        with self.console.status(what):
            yield
        took = time.perf_counter() - began
        self.console.print(f"  [green]✓[/green] {what} [dim]{took:.1f} s[/dim]", highlight=False)

    def elapsed_s(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._began


def run(output: Path, *, exit_when_done: bool, port: int) -> None:
    """Run the demo into `output`; ConflictError where that folder holds something else."""
    # Tables need their width; where nobody looks, there is no terminal to take it from.
    console = Console() if sys.stdout.isatty() else Console(width=128)
    story = Story(console)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    _clear(output)
    with _listen(port, fall_back=exit_when_done) as listening:
        with story.step("start the embedded database and migrate it"):
            server = embedded_server(output / "database")
            database = server.__enter__()
            asyncio.run(bootstrap_roles(database.url(database="postgres")))
            migrate(database.url(OWNER))
        try:
            settings = Settings(worker_url=database.url(WORKER), api_url=database.url(API))
            with _serving(settings, listening):
                asyncio.run(_work(story, settings, listening.getsockname()[1], output))
                console.print(f"\n  done in {story.elapsed_s():.0f} s; written to {output}/")
                if not exit_when_done:
                    _wait(console, listening.getsockname()[1], output / "keys.json")
        finally:
            server.__exit__(None, None, None)


async def _work(story: Story, settings: Settings, port: int, output: Path) -> None:
    assert settings.worker_url is not None
    connection = await connect(settings.worker_url)
    try:
        await prepare_storage(connection, now=clock.now())
        with story.step("enter entities, hardware, power, prices and customers"):
            await _enter(connection)
            ledger = await _open_gates(connection, port, output)
        made = own_fleet.attempts(SEED)
        batches = await asyncio.to_thread(_deliver, story, ledger, made, output)
        with story.step("allocate energy and cost, rate, book the journal"):
            await settle(connection, now=clock.now())
        with story.step("issue the invoices"):
            await _issue(connection)
        oddities = await _be_late(story, connection, ledger, batches)
        with story.step("write reports, invoices and CSV files"):
            day, fleet = await read_both(connection)
            summary = await summarise(connection, day, fleet)
            await _write(connection, output)
            (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        show(story.console, fleet, summary, _complete(oddities, fleet))
    finally:
        await connection.close()


async def _enter(connection: Connection) -> None:
    for model, body in entries():
        await enter_of(model)(connection, read_input(model, body), AUTHOR)


async def _open_gates(connection: Connection, port: int, output: Path) -> Ledger:
    sources = (published_day.SOURCE, own_fleet.SOURCE, own_fleet.ENERGY_SOURCE)
    sender = await create_api_key(
        connection, NewApiKey(role="ingest", name="demo senders", sources=sources), AUTHOR
    )
    keys = {"finance": NewApiKey(role="finance", name="demo reader")} | {
        buyer: NewApiKey(role="customer", customer_id=buyer) for buyer in ("fjord-bank",)
    }
    texts = {n: (await create_api_key(connection, new, AUTHOR)).text for n, new in keys.items()}
    (output / "keys.json").write_text(json.dumps(texts, indent=2) + "\n")
    return Ledger("127.0.0.1", port, sender.text)


def _deliver(
    story: Story, ledger: Ledger, made: list[own_fleet.PlannedAttempt], output: Path
) -> int:
    with story.step("deliver the published day by HTTP"):
        for _ in ledger.send_keyed(published_day.events(SEED)):
            pass
    batches = usage_batches([*own_fleet.usage_events(made), own_fleet.unknown_customer_event()])
    with story.step(f"deliver {len(made):,} attempts of the own fleet, one batch twice"):
        for batch in (*batches, batches[3]):
            ledger.send_batch(batch)
    recording = output / "gpu-readings.csv.gz"
    with story.step("replay the GPUs' energy counters through the collector daemon"):
        write_recording(own_fleet.energy_readings(made, SEED), recording)
        run_collector(ledger, recording, output)
    return len(batches)


async def _issue(connection: Connection) -> None:
    for entity, moment in (
        (published_day.ENTITY, published_day.START),
        (own_fleet.ENTITY, own_fleet.START),
    ):
        await run_invoices(connection, RunAsk(entity, moment, clock.now(), AUTHOR))


async def _be_late(story: Story, connection: Connection, ledger: Ledger, batches: int) -> Oddities:
    with story.step("receive an event after its month was invoiced"):
        before = await _fingerprint(connection)
        (late,) = usage_batches([own_fleet.late_event()], first=batches + 1)
        await asyncio.to_thread(ledger.send_batch, late)
        await settle(connection, now=clock.now())
        pending = await pending_adjustments(connection, subscription_id=LATE_BUYER)
        after = await _fingerprint(connection)
    fates = await operations.sum_receipts(connection)
    return Oddities(
        duplicate_events=fates.duplicate,
        late_amount=total([line.exact_amount for line in pending]),
        late_currency="EUR",
        invoice_unchanged=before == after,
        suspended=await operations.list_suspense(connection),
        suspense_cost=ZERO,
        estimated_mj=0,
    )


async def _fingerprint(connection: Connection) -> list[str]:
    digests = []
    for invoice in await list_invoices(connection):
        pdf = await find_or_render(connection, invoice)
        digests.append(sha256(repr(invoice).encode() + pdf).hexdigest())
    return digests


def _complete(oddities: Oddities, fleet: Books) -> Oddities:
    strangers = [
        row.cost for row in fleet.by["customer"].rows if own_fleet.UNKNOWN_CUSTOMER in row.group[0]
    ]
    return Oddities(
        oddities.duplicate_events,
        oddities.late_amount,
        oddities.late_currency,
        oddities.invoice_unchanged,
        oddities.suspended,
        total(strangers),
        fleet.tiers.conservation.estimated_mj,
    )


async def _write(connection: Connection, output: Path) -> None:
    folder = output / "invoices"
    folder.mkdir()
    for invoice in await list_invoices(connection):
        pdf = await find_or_render(connection, invoice)
        (folder / file_name(invoice.number, ".pdf")).write_bytes(pdf)
    for entity, since, until in (
        (published_day.ENTITY, published_day.START, published_day.END),
        (own_fleet.ENTITY, own_fleet.START, own_fleet.END),
    ):
        books = BooksOf(entity, since, until, await draw_cut_off(connection, "demo export"))
        (output / entity).mkdir()
        for name in EXPORTS:
            with (output / entity / EXPORT_FORMATS[name].filename).open("wb") as file:
                async for part in export_file(connection, name, books):
                    file.write(part)


def _clear(output: Path) -> None:
    if output.exists() and any(output.iterdir()) and not (output / MARK).exists():
        raise ConflictError(
            f"{output} exists and was not made by the demo.", "Name another --output."
        )
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / MARK).write_text("This folder is replaced by the next run of the demo.\n")


@contextmanager
def _listen(port: int, *, fall_back: bool) -> Iterator[socket.socket]:
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        if not fall_back:
            raise ConflictError(
                f"Port {port} is taken: {error.strerror}.", "Choose another with --port."
            ) from error
        listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        yield listening


@contextmanager
def _serving(settings: Settings, listening: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(create_app(settings), log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)


def _wait(console: Console, port: int, keys: Path) -> None:
    console.print(
        f"\n  The dashboard is at http://127.0.0.1:{port}/ (a finance and a customer key are in"
        f" {keys}). Stop with Ctrl-C."
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # In short waits, since a signal is only seen between two of them.
    while not stop.wait(0.5):
        pass
    console.print("  Stopped.")
