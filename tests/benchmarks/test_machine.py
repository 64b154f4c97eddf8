"""Marks of the machine stand beside figures, are cheap, and are never lent to other days."""

import json
import time
from pathlib import Path

from benchmarks.harness import RESULTS, TABLE, Figure, save
from benchmarks.machine import machine, marks


def test_marks_are_numbers_above_nothing_and_take_less_than_two_seconds() -> None:
    before = time.thread_time()
    found = marks()
    assert time.thread_time() - before < 2
    assert set(found) == {"page fault, µs", "fresh memory filled, GB/s", "sha256, GB/s"}
    assert all(float(value) > 0 for value in found.values())


def test_marks_stand_with_the_machine_in_results_and_on_the_page(tmp_path: Path) -> None:
    save([Figure("a", 1.0, "s", 5)], {}, tmp_path)
    assert json.loads((tmp_path / RESULTS).read_text())["machine"] == machine()
    page = (tmp_path / TABLE).read_text()
    assert all(f"- {name}: {value}\n" in page for name, value in machine().items())


def test_a_figure_keeps_the_marks_of_its_day_and_gets_none_of_a_later_one(tmp_path: Path) -> None:
    save([Figure("unmarked", 1.0, "s", 5)], {}, tmp_path)
    _change_machine(tmp_path, {"cpu": "old"})
    save([Figure("marked", 2.0, "s", 5)], {}, tmp_path)
    _change_machine(tmp_path, {**machine(), "sha256, GB/s": "9.99"})
    save([Figure("today", 3.0, "s", 5)], {}, tmp_path)
    rows = json.loads((tmp_path / RESULTS).read_text())["figures"]
    differs = {row["name"]: row["differs"] for row in rows}
    assert differs["today"] == {}
    assert differs["marked"] == {"sha256, GB/s": "9.99"}
    assert differs["unmarked"]["cpu"] == "old"
    page = (tmp_path / TABLE).read_text()
    assert page.count("sha256, GB/s, then") == 1


def _change_machine(folder: Path, machine_then: dict[str, str]) -> None:
    body = json.loads((folder / RESULTS).read_text())
    (folder / RESULTS).write_text(json.dumps(body | {"machine": machine_then}))
