"""A GPU host has the base install only: `collect` and `probe` work there, the rest says why not."""

import json
import subprocess
import sys

import pytest

ABSENT = ("asyncpg", "aiosql", "alembic", "litestar", "msgspec", "polars", "sqlalchemy", "uvicorn")
START = f"""
import sys
for name in {ABSENT!r}:
    sys.modules[name] = None
from ledger.cli import main
main()
"""


def on_gpu_host(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", START, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_and_probe_work_without_the_ledger_part() -> None:
    assert "Say what this host offers" in on_gpu_host("--help").stdout
    done = on_gpu_host("probe", "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"boards", "nvml_problem", "targets", "findings"}


def test_collect_without_a_destination_says_so() -> None:
    done = on_gpu_host("collect")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["status", "allocate"])
def test_command_of_the_ledger_says_what_to_install(command: str) -> None:
    done = on_gpu_host(command)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: `{command}` needs ")
    assert "pip install 'tokenledger[ledger,documents,embedded]'" in done.stderr
    assert done.stderr.count("\n") == 1
