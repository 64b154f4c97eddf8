"""How long LiteLLM's whole price table takes, from its file to prices of a card."""

import asyncio
import os
import time
from pathlib import Path

from benchmarks.harness import Figure, median, say
from benchmarks.scale import RUNS
from benchmarks.server import AUTHOR, Bench, bench_server
from ledger.commands.data.price_table_file import read_price_table
from ledger.domain.pricing.tables import TABLE_READERS
from ledger.domain.pricing.tables.rules import judge_rows
from ledger.flows.reference.enter_table import TableTerms, enter_table
from ledger.store.connect import connect
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewRateCard
from ledger.wire.rfc3339 import parse_rfc3339
from tests.support.database import shared_data_folder

ROOT = Path(__file__).parents[1]
REACH_S = 5
CARD = {"rate_card_id": "list", "entity_id": "factory", "name": "List", "currency": "USD"}


def run() -> list[Figure]:
    """Seconds for reading, judging, comparing and entering the table on a new card."""
    folder = shared_data_folder(os.environ.get("TOKENLEDGER_TEST_DATA"), ROOT)
    if folder is None:
        say("not measured: TOKENLEDGER_TEST_DATA names no published data sets")
        return []
    file = folder / "prices" / "litellm_model_prices.json"
    with bench_server(()) as bench:
        runs = [_measure(bench, file) for _ in range(RUNS)]
    seconds = median([took for took, _ in runs])
    return [
        Figure(
            "LiteLLM's price table, entered",
            seconds,
            "s",
            len(runs),
            reach=f"< {REACH_S} s",
            met=seconds < REACH_S,
            details={"prices": runs[0][1]},
        )
    ]


def _measure(bench: Bench, file: Path) -> tuple[float, int]:
    with bench.fresh() as database:
        took, prices = asyncio.run(_enter(database.worker_url, file))
    say(f"{prices:,} prices in {took:.2f} s")
    return took, prices


async def _enter(worker_url: str, file: Path) -> tuple[float, int]:
    connection = await connect(worker_url)
    try:
        began = time.perf_counter()
        table = judge_rows(TABLE_READERS["litellm"](read_price_table(file)), frozenset())
        since = parse_rfc3339("2026-08-01T00:00:00Z")
        card = read_input(NewRateCard, CARD)
        terms = TableTerms(card, "litellm", since, frozenset(), apply=True)
        compared = await enter_table(connection, table, terms, AUTHOR)
        return time.perf_counter() - began, len(compared.written)
    finally:
        await connection.close()
