"""README's own commands, run as they stand: a first invoice, and an event from a usage object."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pypdf import PdfReader

from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, eventually

README = Path(__file__).parents[2] / "README.md"
BIN = Path(sys.executable).parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def blocks(heading: str, language: str) -> list[str]:
    """The code blocks of a language under a heading."""
    section = README.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.S)


@dataclass
class Serving:
    """A `tokenledger up` started as README says, on a port of its own."""

    folder: Path
    port: int
    key: str

    def run(self, script: str) -> str:
        path = f"{BIN}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def serving(server_dir: Path) -> Iterator[Serving]:
    port = free_port()
    (up,) = re.findall(r"^(tokenledger up .*?) +#", blocks(FIRST, "sh")[0], re.M)
    command = [str(BIN / "tokenledger"), *up.split()[1:], "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=server_dir, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        key = re.findall(r"tlk_\S+", process.stdout.readline())[0]
        eventually(lambda: answers(port), "the API")
        yield Serving(server_dir, port, key)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


FIRST = "Five minutes to a first invoice"
BEHIND = ("For finance", "For customers")


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_what_is_shown_runs_in_order_and_an_event_is_created_once(serving: Serving) -> None:
    _, enter, load = blocks(FIRST, "sh")
    serving.run(enter)
    year = time.strftime("%Y", time.gmtime())
    printed = serving.run(load.replace("-2026-", f"-{year}-"))
    page = PdfReader(serving.folder / f"ACME-AI-{year}-000001.pdf").pages[0].extract_text()
    assert "1 Foundry Lane" in page
    assert "2 Market Street" in page
    assert "0.04" in printed
    behind = "\n".join(block for heading in BEHIND for block in blocks(heading, "sh"))
    printed = serving.run(behind.replace("-2026-", f"-{year}-"))
    assert "Credited 0.04 USD" in printed
    assert "tlk_" in printed

    (event,) = blocks("For integrators", "python")
    sent = event.replace("tlk_…", serving.key).replace("8787", str(serving.port))
    (serving.folder / "event.py").write_text(sent)
    assert '"outcome":"created"' in serving.run(f"{sys.executable} event.py")
    assert '"outcome":"duplicate"' in serving.run(f"{sys.executable} event.py")
