"""What a worker sets up before it reads."""

import subprocess
import sys

START = """
import sys
import ledger.commands.worker
assert "polars" not in sys.modules, "it reads how many threads it may have when it is loaded"
"""


def test_a_worker_says_how_many_threads_frames_have_before_they_are_loaded() -> None:
    subprocess.run([sys.executable, "-c", START], check=True)
