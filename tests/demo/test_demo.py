"""The demo, run as a user runs it: the published figures, and an own fleet that adds up."""

import csv
import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.demo import own_fleet, published_day
from ledger.demo.entries import entries
from ledger.wire.factory_inputs import NewAsset
from ledger.wire.grid_inputs import GRID_KINDS, NewGridFactors
from ledger.wire.inputs import read_input

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
HOURLY_USD = [
    *["4448.00"] * 12,
    *("3488.00", "3128.00", "2408.00", "1328.00", "1088.00", "1088.00", "1328.00", "2528.00"),
    *("3968.00", "4448.00", "4448.00", "4448.00"),
]


def run_demo(output: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ledger.cli", "demo", "--exit", "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_published_day(found: dict[str, Any]) -> None:
    assert found["cost_usd"] == "87072.00"
    assert found["revenue_usd"] == "562100.00"
    assert (found["gross_margin_pct"], found["markup_pct"]) == ("84.51", "545.56")
    assert found["hourly_cost_usd"] == HOURLY_USD
    exact = Decimal(found["invoiced_usd"]) + Decimal(found["rounding_usd"])
    assert exact == Decimal("562100.00")


def check_own_fleet(found: dict[str, Any]) -> None:
    assert found["energy_residual_mj"] == 0
    assert Decimal(found["cost_residual"]) == 0
    assert set(found["by_tier"]) == {"real-time", "standard", "batch"}
    assert found["tokens_total"] == sum(tier["tokens"] for tier in found["by_tier"].values())
    assert Decimal(found["idle_cost"]) > 0
    assert len(found["energy_kwh"].partition(".")[2]) == 6


def check_events(found: dict[str, int]) -> None:
    assert found["received"] == sum(count for fate, count in found.items() if fate != "received")
    assert found["duplicate"] > 0
    assert found["suspense"] == 1
    assert found["conflict"] == found["quarantined"] == 0


def test_the_demo_says_what_was_published_and_loses_nothing(server_dir: Path) -> None:
    output = server_dir / "demo-output"
    done = run_demo(output)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((output / "summary.json").read_text())
    check_published_day(summary["published_day"])
    check_own_fleet(summary["own_fleet"])
    check_events(summary["events"])
    # No number of a table is cut off, in the eighty columns that a pipe has.
    assert not re.search(r"\d…", done.stdout)
    for oddity in ("a batch sent twice", "byte for byte the same", "walk-in waits in suspense"):
        assert oddity in done.stdout
    invoices = sorted(path.name for path in (output / "invoices").iterdir())
    assert len(invoices) == len(published_day.BUYERS) + 5
    journal = rows(output / "own-fleet" / "journal_lines.csv")
    debit, credit = (
        sum(Decimal(row[side] or 0) for row in journal) for side in ("debit", "credit")
    )
    assert debit == credit > 0


def test_the_demo_leaves_a_folder_of_somebody_else_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = run_demo(tmp_path)
    assert done.returncode == 1
    assert "was not made by the demo" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("seed", [1, 2])
def test_the_published_totals_are_met_by_any_seed(seed: int) -> None:
    leaves = [event["data"]["usage"] for event in published_day.events(seed)]
    assert sum(u["input"]["cache_read"] for u in leaves) == published_day.CACHE_HIT_TOKENS
    assert sum(u["input"]["uncached"] for u in leaves) == published_day.CACHE_MISS_TOKENS
    assert sum(u["output"]["visible"] for u in leaves) == published_day.OUTPUT_TOKENS


def test_the_fleet_says_all_day_what_a_kwh_takes_and_which_boards_it_has() -> None:
    said = [read_input(model, body) for model, body in entries()]
    factors = {each.kind: each.factors for each in said if isinstance(each, NewGridFactors)}
    assert factors.keys() == {*GRID_KINDS}
    for periods in factors.values():
        starts, ends = (
            [*each] for each in zip(*((p.start, p.until) for p in periods), strict=True)
        )
        assert [*starts, own_fleet.END] == [own_fleet.START, *ends]
    assert all(asset.gpu_type for asset in said if isinstance(asset, NewAsset))
