"""Runs benchmarks and writes what they measured: a JSON row per figure, and a table."""

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.scale import SCALE
from ledger import clock

RESULTS = "results.json"
TABLE = "RESULTS.md"
HERE = Path(__file__).parent
# Of a row, what was not looked at when it was measured.
UNTOLD = ""
# Small measurements, made while writing a benchmark, do not replace the published ones.
FOLDER = HERE if SCALE == 1 else HERE.parent / ".cache"


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
    details: Mapping[str, object] = field(default_factory=dict)


Benchmark = Callable[[], Sequence[Figure]]


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


def median(values: Sequence[float]) -> float:
    """The middle value, which every figure quotes: single runs on a shared machine say little."""
    return statistics.median(values)


def save(figures: Sequence[Figure], settings: Mapping[str, str], folder: Path = FOLDER) -> None:
    """Replace the rows of the figures just measured, keep the others; write the table anew.

    A row that is kept says what was different when it was measured.
    """
    folder.mkdir(exist_ok=True)
    results = folder / RESULTS
    body: dict[str, Any] = {"machine": machine(), "settings": dict(settings), "figures": []}
    before = json.loads(results.read_text()) if results.exists() else body
    fresh = {figure.name for figure in figures}
    kept = [_kept(row, before, body) for row in before["figures"] if row["name"] not in fresh]
    today = clock.now().date().isoformat()
    body["figures"] = sorted(
        [*kept, *({**asdict(figure), "date": today, "differs": {}} for figure in figures)],
        key=lambda row: str(row["name"]),
    )
    results.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    (folder / TABLE).write_text(to_markdown(body))


def _kept(
    row: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any]:
    """A row measured earlier, with those of its machine and settings that are not today's."""
    then = {**before["machine"], **before["settings"], **row.get("differs", {})}
    today = {**now["machine"], **now["settings"]}
    # What was not told then must not be taken for what is told now.
    then |= {name: UNTOLD for name in today if name not in then}
    differs = {name: value for name, value in then.items() if today.get(name) != value}
    return {**row, "differs": differs}


def to_markdown(body: Mapping[str, Any]) -> str:
    """The results as a page: where they were measured, a row a figure, what lies behind each."""
    measured = {**body["machine"], "scale": SCALE, **body["settings"]}
    lines = [
        "# Measured figures",
        "",
        "Written by `make bench` from results.json. Each figure is a median; a ratio is to what",
        "was measured beside it in the same run, on the same server.",
        "",
        *(f"- {name}: {value}" for name, value in measured.items()),
        "",
        "| figure | median | unit | compared against | ratio | reach | met |",
        "| --- | ---: | --- | --- | ---: | --- | --- |",
        *(f"| {' | '.join(_cells(_figure(row)))} |" for row in body["figures"]),
    ]
    for row in body["figures"]:
        said = {**row.get("details", {}), **_measured(row)}
        if row.get("details") or row.get("differs"):
            lines += ["", f"## {row['name']}, {row['runs']} runs", ""]
            lines += [f"- {name}: {_short(value)}" for name, value in said.items()]
    return "\n".join(lines) + "\n"


def show(figures: Sequence[Figure]) -> None:
    """Print the figures as a table."""
    table = Table("figure", "median", "unit", "compared against", "ratio", "reach", "met")
    for figure in figures:
        table.add_row(*_cells(figure))
    Console().print(table)


def _figure(row: Mapping[str, Any]) -> Figure:
    return Figure(**{one.name: row[one.name] for one in fields(Figure)})


def _measured(row: Mapping[str, Any]) -> dict[str, object]:
    """When, and what was not as it is said above."""
    found: dict[str, object] = {"measured": row["date"]} if row.get("date") else {}
    differs: Mapping[str, object] = row.get("differs", {})
    return found | {f"{name}, then": value for name, value in differs.items() if value != UNTOLD}


def _cells(figure: Figure) -> list[str]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.3f}"
    met = {None: "", True: "yes", False: "NO"}[figure.met]
    places = 0 if abs(figure.median) >= 1_000 else 3
    value = f"{figure.median:,.{places}f}"
    name, against, reach = figure.name, figure.compared_against, figure.reach
    return [name, value, figure.unit, against, ratio, reach, met]


def _short(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
