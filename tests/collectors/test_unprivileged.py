"""The daemon needs no rights but those to its spool: it runs as nobody in particular."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collectors.servers import Receiver, serving
from tests.collectors.test_agent import recording

NOBODY = 65_534
# A checkout in root's own folder can be read before the rights go, and not after.
START = """
import os, sys
import collectors.command, collectors.compact, collectors.sources.replay, collectors.to_http
import encodings.idna
user = int(sys.argv.pop(1))
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
from ledger.start import main
main()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of nobody's own, where nobody may go."""
    with tempfile.TemporaryDirectory(prefix="tokenledger-nobody-") as text:
        os.chown(text, NOBODY, NOBODY)
        yield Path(text)


@pytest.mark.skipif(os.geteuid() != 0, reason="every daemon of the tests runs without root")
def test_a_daemon_without_rights_reads_spools_and_delivers(home: Path) -> None:
    receiver = Receiver()
    with serving(receiver.answer) as url:
        config = home / "collector.toml"
        config.write_text(
            f'[collect]\nsource = "/h"\nproducer = "h"\nspool_dir = "{home}/spool"\nnvml = "off"\n'
            f'interval_s = 0.05\nbatch_s = 0\nreplay_file = "{recording(home)}"\n'
            f'replay_speed = 0\n[collect.http]\nurl = "{url}"\napi_key = "k"\n'
        )
        command = [sys.executable, "-c", START, str(NOBODY), "collect", "--config", str(config)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            until = time.monotonic() + 30
            while not receiver.batches and process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            assert process.poll() is None, process.communicate()[1]
            said = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert [batch.header.count for batch in receiver.batches] == [5]
    rights = dict(line.split(":\t", 1) for line in said if ":\t" in line)
    assert set(rights["Uid"].split()) == {str(NOBODY)}
    assert set(rights["Groups"].split()) == set()
    assert int(rights["CapEff"], 16) == 0
    kept = list((home / "spool").iterdir())
    assert {one.stat().st_uid for one in kept} == {NOBODY}
    assert not any(one.stat().st_mode & 0o077 for one in kept)
