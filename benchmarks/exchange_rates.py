"""How long a published table of exchange rates takes to import, as a user imports it."""

import os
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from benchmarks.harness import Figure, median, say
from benchmarks.scale import RUNS, scaled
from benchmarks.server import Bench, bench_server

QUOTES = ("USD", "JPY", "GBP", "CHF", "SEK")
# Working days of four and a half years.
DAYS = 1_178
REACH_S = 2
FIXED = ("--map", "day=Date", "--set", "base=EUR", "--set", "source=ECB")


def run() -> list[Figure]:
    """Seconds of `tokenledger import fx`, from start to end, and once more of the same file."""
    rates = scaled(DAYS) * len(QUOTES)
    with tempfile.TemporaryDirectory() as folder, bench_server(()) as bench:
        file = Path(folder) / "rates.csv"
        file.write_text(_table(scaled(DAYS)))
        runs = [_measure(bench, file, rates) for _ in range(RUNS)]
    first, again = map(median, zip(*runs, strict=True))
    return [
        Figure(
            f"{rates:,} exchange rates, imported",
            first,
            "s",
            len(runs),
            reach=f"< {REACH_S} s",
            met=first < REACH_S,
            details={"the same file again, s": round(again, 2)},
        )
    ]


def _table(days: int) -> str:
    """A row a day, newest first, with a column for each currency."""
    newest = date(2026, 4, 13)
    rows = [
        [str(newest - timedelta(days=n)), *(f"{1 + at + n % 50 / 1000:.4f}" for at in range(5))]
        for n in range(days)
    ]
    return "".join(f"{','.join(row)}\n" for row in [["Date", *QUOTES], *rows])


def _measure(bench: Bench, file: Path, rates: int) -> tuple[float, float]:
    with bench.fresh() as database:
        first, told = _import(file, database.worker_url)
        if f"{rates:,} FX rates entered" not in told:
            raise AssertionError(told)
        again, _ = _import(file, database.worker_url)
    say(f"{rates:,} rates in {first:.2f} s, again in {again:.2f} s")
    return first, again


def _import(file: Path, worker_url: str) -> tuple[float, str]:
    command = [sys.executable, "-m", "ledger.cli", "import", "fx", str(file), *FIXED]
    environment = {**os.environ, "TOKENLEDGER_WORKER_URL": worker_url}
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--quotes", ",".join(QUOTES)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - began, done.stdout
