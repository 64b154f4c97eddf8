"""Runs benchmarks and writes what they measured: a JSON row per figure, and a table."""

import json
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; `ratio` is to `compared_against`, `met` tells if it reaches `reach`."""

    name: str
    median: float
    unit: str
    runs: int
    compared_against: str = ""
    ratio: float | None = None
    reach: str = ""
    met: bool | None = None


Benchmark = Callable[[], Sequence[Figure]]


def median(values: Sequence[float]) -> float:
    """The middle value, which every figure quotes: single runs on a shared machine say little."""
    return statistics.median(values)


def machine() -> dict[str, str]:
    """What the figures were measured on; ratios travel, absolute numbers do not."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return {"cpu": cpu, "system": platform.platform(), "python": platform.python_version()}


def save(figures: Sequence[Figure], settings: dict[str, str]) -> None:
    """Replace the rows of the figures just measured, keep the others."""
    kept: list[dict[str, object]] = []
    if RESULTS.exists():
        kept = json.loads(RESULTS.read_text())["figures"]
    fresh = {figure.name for figure in figures}
    rows = [row for row in kept if row["name"] not in fresh] + [asdict(f) for f in figures]
    rows.sort(key=lambda row: str(row["name"]))
    body = {"machine": machine(), "settings": settings, "figures": rows}
    RESULTS.write_text(json.dumps(body, indent=1) + "\n")


def show(figures: Sequence[Figure]) -> None:
    """Print the figures as a table."""
    table = Table("figure", "median", "unit", "compared against", "ratio", "reach", "met")
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.3f}"
        met = {None: "", True: "yes", False: "NO"}[figure.met]
        value = f"{Decimal(str(round(figure.median, 3))):,f}"
        table.add_row(
            figure.name, value, figure.unit, figure.compared_against, ratio, figure.reach, met
        )
    Console().print(table)
