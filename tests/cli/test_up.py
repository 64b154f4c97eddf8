"""`tokenledger up`: one process that serves everything, and leaves its books for the next."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
TOKENLEDGER = (sys.executable, "-m", "ledger.cli")


@dataclass(frozen=True, slots=True)
class Running:
    """A running `up`: what it printed at its start, and where it listens."""

    process: "subprocess.Popen[str]"
    said: str
    url: str


def without_urls() -> dict[str, str]:
    return {name: v for name, v in os.environ.items() if not name.startswith("TOKENLEDGER_")}


@contextmanager
def up(data_dir: Path) -> Iterator[Running]:
    command = (*TOKENLEDGER, "up", "--data-dir", str(data_dir), "--port", "0")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=without_urls()
    )
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            found = re.search(r"Serving (http://\S+) ", line)
            if found:
                yield Running(process, said, found[1])
                break
        else:
            raise AssertionError(f"up ended with {process.wait()}: {said}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    words = [str(argument) for argument in arguments]
    return subprocess.run(
        [*TOKENLEDGER, *words], capture_output=True, text=True, env=without_urls(), check=False
    )


def answers(url: str) -> int:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=10) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        return error.code
    except ConnectionError:
        return 0


def test_up_serves_survives_a_restart_and_lets_nobody_else_in(
    server_dir: Path, tmp_path: Path
) -> None:
    entities = tmp_path / "entities.csv"
    entities.write_text("entity_id,name,currency,zone\nfactory,Factory,EUR,UTC\n")
    with up(server_dir) as first:
        assert "Admin key, shown this once: tlk_" in first.said
        assert answers(first.url) == 200
        done = run("import", "entities", entities, "--data-dir", server_dir)
        assert "1 row read, 1 entity entered" in done.stdout
        second = run("up", "--data-dir", server_dir, "--port", "0")
        assert second.returncode == 1
        assert second.stderr.startswith("error: Another process runs the database in")
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(60) == 0
    # A stopped one is started for the length of a command.
    done = run("import", "entities", entities, "--data-dir", server_dir)
    assert "1 row read, recorded already" in done.stdout
    with up(server_dir) as again:
        assert "Admin key" not in again.said
        assert answers(again.url) == 200
        again.process.send_signal(signal.SIGINT)
        assert again.process.wait(60) == 0


def test_a_killed_postgresql_is_started_again_and_the_process_serves_on(server_dir: Path) -> None:
    with up(server_dir) as running:
        eventually(lambda: answers(running.url) == 200)
        first = postmaster_of(server_dir)
        for _ in range(2):
            kill_and_wait(server_dir)
            eventually(lambda: answers(running.url) == 200)
        assert postmaster_of(server_dir) != first
        done = run("status", "--data-dir", server_dir, "--json")
        assert done.returncode == 0, done.stderr
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0


def test_a_server_that_cannot_start_is_tried_until_it_can(server_dir: Path) -> None:
    with up(server_dir) as running:
        eventually(lambda: answers(running.url) == 200)
        pid = postmaster_of(server_dir)
        assert pid is not None
        # What ails it is a setting here, as a full disk would be.
        conf = server_dir / "postgres" / "tokenledger.conf"
        sound = conf.read_text()
        conf.write_text(sound + "shared_buffers = 'much'\n")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: answers(running.url) == 503)
        time.sleep(2)
        conf.write_text(sound)
        eventually(lambda: answers(running.url) == 200)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0


def kill_and_wait(data_dir: Path) -> None:
    """Kill the postmaster as nothing can prevent, and wait for another."""
    killed = postmaster_of(data_dir)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: postmaster_of(data_dir) not in (None, killed))


def postmaster_of(data_dir: Path) -> int | None:
    try:
        return int((data_dir / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def test_taken_port_is_said_before_anything_is_made(tmp_path: Path) -> None:
    done = run("up", "--data-dir", tmp_path / "data", "--host", "203.0.113.1", "--port", "1")
    assert done.returncode == 1
    assert done.stderr.startswith("error: Cannot listen on 203.0.113.1:1")
    assert not (tmp_path / "data").exists()
