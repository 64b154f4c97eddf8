"""A command loads what it needs: columns and compiled loops take a second to load."""

import subprocess
import sys

import pytest

from ledger.flows.stages import STAGES

LOADED = """
import sys
from ledger.cli import cli
cli({arguments!r}, standalone_mode=False)
print(*{{name.partition(".")[0] for name in sys.modules}}, file=sys.stderr)
"""
COLUMNS = {"numba", "polars", "numpy", "pyarrow"}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["keys", "--help"], ["import", "fx", "--help"], ["payment", "import", "--help"]],
)
def test_what_works_without_columns_does_not_load_them(arguments: list[str]) -> None:
    command = [sys.executable, "-c", LOADED.format(arguments=arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    assert "click" in done.stderr.split()
    assert set(done.stderr.split()) & COLUMNS == set()


@pytest.mark.parametrize("name", STAGES)
def test_each_stage_of_the_table_is_where_the_table_says(name: str) -> None:
    assert STAGES[name].load().name == name
