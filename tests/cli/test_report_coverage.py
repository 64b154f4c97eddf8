"""What was noticed about meters, and engines beside events, are printed for people too."""

import asyncio
from collections.abc import Awaitable, Callable

from ledger.flows.cost.allocate import allocate
from ledger.flows.metering.ingest import prepare_storage
from ledger.store.connect import connect
from tests.cli.command_line import CommandLine
from tests.support.books import Books, Tokens
from tests.support.one_gpu import GPU, LATER, START, at, one_gpu
from tests.support.usage import Gate, attempt, keyed

PERIOD = ("--from", "2026-03-02T10:00:00Z", "--to", "2026-03-02T11:00:00Z")


def in_books(command: CommandLine, work: Callable[[Books], Awaitable[object]]) -> None:
    async def run() -> None:
        connection = await connect(command.database.worker_url)
        try:
            await work(Books(connection))
        finally:
            await connection.close()

    asyncio.run(run())


async def stood_still(books: Books) -> None:
    await one_gpu(books)
    await books.readings(GPU, [(at(5 * n), 7_000) for n in range(721)], power_mw=400_000)
    await books.usage(START, Tokens(uncached=60, cache_read=20, output=10), instance="vllm-0")
    await books.counters(
        "vllm-0",
        [(at(0), "prompt_tokens", 1_000), (at(1_800), "prompt_tokens", 1_100)],
        rounded=True,
    )
    await allocate(books.connection, now=LATER)
    # Status tells of the day before the newest event of any source.
    await prepare_storage(books.connection, now=LATER)
    newest = attempt() | {"time": "2026-03-02T11:00:00Z"}
    await Gate(books.connection).send(keyed(newest), now=LATER)


def test_findings_and_engines_are_printed(command: CommandLine) -> None:
    in_books(command, stood_still)
    coverage = command("report", "coverage", *PERIOD, "--wide").stdout
    noticed = f"Noticed at GPU {GPU}: counter_frozen in 4 quarter hours"
    assert noticed in coverage
    assert noticed in command("report", "energy", *PERIOD).stdout
    (row,) = [line for line in coverage.splitlines() if "vllm-0" in line]
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells[0] == "vllm-0"
    assert cells[3:6] == ["100", "80", "20"]
    (engine,) = command.json("report", "coverage", *PERIOD)["engines"]
    assert engine["flags"] == ["precision_loss"]
    assert "precision_loss" in row
    assert "not certain of engine vllm-0: precision_loss" in command("status").stdout
    beside = command("report", "engines", *PERIOD, "--wide").stdout
    row, unknown = [line for line in beside.splitlines() if "vllm-0" in line and "│" in line]
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert (cells[2:4], cells[5:]) == (["input", "precision_loss"], ["100", "80", "20", "20"])
    # Its output was not scraped: not known, and no zero.
    assert unknown.strip("│ ").split("│")[5].strip() == "–"
    assert "More than 1 % has no cause: vllm-0, 2026-03-02 10:00" in beside
    said = command("report", "margin", *PERIOD).stderr
    assert "720 readings came in the period; counter_frozen" in said
    assert "send" not in said


def test_engines_that_sent_nothing_are_said(command: CommandLine) -> None:
    in_books(command, one_gpu)
    assert "Engines: none sent" in command("report", "coverage", *PERIOD).stdout
