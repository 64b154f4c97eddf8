"""The daemon as an operator has it: it shows itself, takes new settings, and says a thing once."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collectors.daemon import run_agent
from collectors.metrics import DaemonFigures, serve_metrics
from collectors.ongoing import Ongoing
from collectors.settings import load_settings
from tests.collectors.servers import Receiver, serving
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, eventually

ROOT = Path(__file__).parents[2]
METRICS = b'vllm:prompt_tokens_total{engine="0",model_name="m"} 5.0\n'
FILE = """
[collect]
source = "/hosts/h"
producer = "h"
spool_dir = "{spool}"
nvml = "off"
interval_s = 0.05
scrape_interval_s = 0.05
batch_s = 0
drain_s = 5
[[collect.targets]]
engine = "vllm"
url = "{engine}"
instance = "{instance}"
[collect.http]
url = "{url}"
api_key = "k"
"""


def instances(receiver: Receiver) -> set[str]:
    return {
        json.loads(line)["data"]["instance"]
        for batch in list(receiver.batches)
        for line in batch.body.splitlines()
    }


class Host:
    """A settings file, and a daemon as a process that runs by it."""

    def __init__(self, folder: Path, engine: str, url: str) -> None:
        self.path, self.log = folder / "collector.toml", folder / "log"
        self._names = {"engine": engine, "url": url, "spool": str(folder / "spool")}

    def write(self, text: str = FILE, **names: str) -> None:
        """Replace the file as a whole, as configuration management does."""
        draft = self.path.with_suffix(".new")
        draft.write_text(text.format(**(self._names | {"instance": "a"} | names)))
        draft.replace(self.path)

    @contextmanager
    def running(self) -> "Iterator[subprocess.Popen[bytes]]":
        """`tokenledger collect`, ended by SIGTERM; its exit status has to be 0."""
        command = [sys.executable, "-m", "ledger.cli", "collect", "--config", str(self.path)]
        with self.log.open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, stderr=log, env=dict(os.environ))
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, self.said()
        finally:
            process.kill()
            process.wait()

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def host(tmp_path: Path, receiver: Receiver) -> Iterator[Host]:
    with serving(lambda _: (200, {}, METRICS)) as engine, serving(receiver.answer) as url:
        made = Host(tmp_path, engine, url)
        made.write()
        yield made


def test_a_changed_file_and_a_hang_up_are_taken_and_a_wrong_one_is_not(
    host: Host, receiver: Receiver
) -> None:
    with host.running() as process:
        eventually(lambda: "a" in instances(receiver), "the first settings")
        host.write(instance="b")
        eventually(lambda: "b" in instances(receiver), "a changed file")
        host.write("[collect]\ninterval_z = 1\n")
        eventually(lambda: "the old ones go on" in host.said(), "a wrong file")
        assert "did you mean interval_s" in host.said()
        seen = len(receiver.batches)
        eventually(lambda: len(receiver.batches) > seen + 2, "the old settings")
        host.write(instance="c")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: "c" in instances(receiver), "a hang-up")
    sequences = [batch.header.sequence for batch in receiver.batches]
    assert set(sequences) == set(range(1, max(sequences) + 1)), "no number is missing"


def test_what_of_a_page_cannot_be_read_is_named_in_the_metrics(
    receiver: Receiver, tmp_path: Path
) -> None:
    pages = [METRICS + b'vllm:prompt_tokens_total{model_name="m} 1\nvllm:"x\n']
    port = free_port()
    with serving(lambda _: (200, {}, pages[-1])) as engine, serving(receiver.answer) as url:
        host = Host(tmp_path, engine, url)
        host.write(FILE.replace("[[collect", f"metrics_port = {port}\n[[collect"))
        with host.running():
            address = f"http://127.0.0.1:{port}/metrics"
            eventually(lambda: len(receiver.batches) > 0, "the first settings")
            name = "tokenledger_collector_page_trouble"
            eventually(lambda: f'{name}s{{instance="a"}} 2\n' in read(address)[1], "two lines")
            line = 'vllm:prompt_tokens_total{model_name=\\"m} 1'
            what = f'what="line cannot be read: {line}"'
            assert f'{name}_info{{instance="a",{what}}} 1\n' in read(address)[1]
            pages.append(METRICS)
            eventually(lambda: f'{name}s{{instance="a"}} 0\n' in read(address)[1], "mended")
            assert f"{name}_info{{" not in read(address)[1]


def test_a_destination_that_cannot_be_opened_leaves_the_old_one(
    host: Host, receiver: Receiver, tmp_path: Path
) -> None:
    with host.running():
        eventually(lambda: len(receiver.batches) > 0, "the first settings")
        host.write(url="ftp://nowhere")
        eventually(lambda: "the old ones go on" in host.said(), "no address")
        (tmp_path / "file").touch()
        host.write(spool=str(tmp_path / "file" / "spool"))
        eventually(lambda: host.said().count("the old ones go on") == 2, "no folder")
        seen = len(receiver.batches)
        eventually(lambda: len(receiver.batches) > seen + 2, "the old settings")
        host.write(spool=str(tmp_path / "other"))
        eventually(lambda: len(epochs(receiver)) == 2, "another spool")


def epochs(receiver: Receiver) -> set[int]:
    return {batch.header.epoch for batch in list(receiver.batches)}


def read(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def settings_of(folder: Path, **more: Any) -> Any:
    return load_settings(None, spool_dir=folder / "spool", nvml="off", metrics_port=0, **more)


def test_the_daemon_shows_its_figures_and_its_health(tmp_path: Path) -> None:
    shown = DaemonFigures(delivered=7, troubles={'scrape "a"': 3})
    with serve_metrics(settings_of(tmp_path), shown) as port:
        url = f"http://127.0.0.1:{port}"
        status, text = read(f"{url}/metrics")
        assert status == 200
        assert "tokenledger_collector_delivered_events_total 7\n" in text
        assert 'trouble_events_total{where="scrape \\"a\\""} 3\n' in text
        assert text.count("# TYPE ") == text.count("# HELP ") >= 15
        assert read(f"{url}/healthz")[0] == 200
        assert read(f"{url}/other")[0] == 404
        shown.read_at = time.monotonic() - 60
        assert read(f"{url}/healthz")[0] == 503
        shown.read_at, shown.sending = time.monotonic(), False
        assert "sending thread" in read(f"{url}/healthz")[1]
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(f"{url}/metrics", data=b"x", timeout=PATIENCE_S)


def test_a_caller_that_says_nothing_holds_up_the_next_for_no_longer_than_two_seconds(
    tmp_path: Path,
) -> None:
    with serve_metrics(settings_of(tmp_path), DaemonFigures()) as port:
        assert port is not None
        with socket.create_connection(("127.0.0.1", port)):
            began = time.monotonic()
            assert read(f"http://127.0.0.1:{port}/healthz")[0] == 200
    # It says nothing for ever: two seconds, and what else this machine does.
    assert time.monotonic() - began < 20


def test_an_address_in_use_is_named_and_ends_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve_metrics(settings_of(tmp_path), DaemonFigures()) as port:
        http = {"url": "http://127.0.0.1:9", "api_key": "k"}
        targets = [{"engine": "vllm", "url": "http://127.0.0.1:9", "instance": "i"}]
        taken = load_settings(
            None,
            spool_dir=tmp_path / "spool",
            nvml="off",
            metrics_port=port,
            http=http,
            targets=targets,
        )
        assert run_agent(taken, stop=threading.Event()) == 2
    assert f"metrics_port {port}" in caplog.text


def test_a_trouble_that_goes_on_is_said_once_then_counted_then_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    troubles = Ongoing(logging.getLogger("t"))
    for number in range(5):
        troubles.tell("scrape a", f"answered 500 with {number} bytes")
    troubles.tell("scrape a", "no route")
    assert [record.getMessage() for record in caplog.records] == [
        "scrape a: answered 500 with 0 bytes",
        "scrape a: no route",
    ]
    assert troubles.counts() == {"scrape a": 6}
    troubles.review()
    assert "scrape a: 4 times more, 5 in all: answered 500 with 4 bytes" in caplog.text
    troubles.tell("scrape a", "no route")
    troubles.review()
    assert "scrape a: over after 5 times" in caplog.text
    assert troubles.counts() == {"scrape a": 2}


def test_troubles_that_are_all_different_fill_no_memory() -> None:
    troubles = Ongoing(logging.getLogger("t"))
    troubles_of = ["a" * (n % 50) + chr(0x4E00 + n) for n in range(3_000)]
    for text in troubles_of:
        troubles.tell("x", text)
    assert troubles.counts()["x"] <= 1_000
