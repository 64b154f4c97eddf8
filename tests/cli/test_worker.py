"""What a process that ingests sets up before it reads."""

import subprocess
import sys

import pytest

START = """
import sys
import ledger.commands.serve.{}
assert "polars" not in sys.modules, "it reads how many threads it may have when it is loaded"
"""


@pytest.mark.parametrize("command", ["worker", "api"])
def test_how_many_threads_frames_have_is_said_before_they_are_loaded(command: str) -> None:
    subprocess.run([sys.executable, "-c", START.format(command)], check=True)
