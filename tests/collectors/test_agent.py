"""The daemon as a process: it reads, spools and sends, stops on SIGTERM and loses nothing."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from collectors.agent import Collector, Tally
from collectors.daemon import run_agent
from collectors.errors import CollectSettingsError
from collectors.probe import probe
from collectors.reading import GpuEnergyReading
from collectors.rounds import HeldRounds
from collectors.settings import CollectSettings, load_settings
from collectors.sources import SourceSample
from collectors.spool import Spool
from ledger.wire.batch import COLUMNAR, Batch
from ledger.wire.limits import COUNTERS, ENERGY
from ledger.wire.ndjson import decode_line, iter_lines
from ledger.wire.parse import explain
from tests.collectors.servers import Answer, Receiver, serving
from tests.support.encoded import decode_columnar
from tests.support.waiting import PATIENCE_S, eventually

ROOT = Path(__file__).parents[2]
METRICS = 'vllm:prompt_tokens_total{engine="0",model_name="m"} 5.0\n'
RUN = "from collectors.daemon import run_agent\nfrom collectors.settings import load_settings\n"


def recording(folder: Path, rows: int = 5) -> Path:
    path = folder / "r.csv"
    lines = [f"GPU-1,e1,{row},{1000 * row}" for row in range(rows)]
    path.write_text("\n".join(["gpu_uuid,epoch,offset_s,energy_mj", *lines]), encoding="ascii")
    return path


def settings_for(folder: Path, **more: Any) -> CollectSettings:
    plain: dict[str, Any] = {
        "source": "/hosts/h",
        "producer": "h",
        "spool_dir": folder / "spool",
        "nvml": "off",
        "interval_s": "0.05",
        "scrape_timeout_s": "0.5",
        "drain_s": "5",
        "batch_s": "0.05",
        "scrape_interval_s": "0.05",
    }
    return load_settings(None, **(plain | more))


def events_of(receiver: Receiver) -> list[dict[str, Any]]:
    return [event for batch in receiver.batches for event in _events_of(batch)]


def _events_of(batch: Batch) -> list[dict[str, Any]]:
    """The events of a batch, whichever of the two encodings was smaller."""
    if batch.header.encoding == COLUMNAR:
        return decode_columnar(batch.body, batch.header)
    return [decode_line(line) for line in iter_lines(batch.body)]


def test_a_replay_ends_when_all_of_it_is_delivered(tmp_path: Path) -> None:
    receiver = Receiver()
    with serving(receiver.answer) as url:
        status = run_agent(replaying(tmp_path, url))
    events = events_of(receiver)
    assert status == 0
    assert [event["data"]["energy_mj"] for event in events] == [0, 1000, 2000, 3000, 4000]
    assert all(explain(event) == () for event in events)
    assert {event["type"] for event in events} == {ENERGY}


@dataclass
class Steady:
    """A source that reads one more each round."""

    name: str = "steady"
    finished: bool = False
    energy_mj: int = 0

    def sample(self, now: datetime) -> SourceSample:
        self.energy_mj += 1
        reading = GpuEnergyReading(
            gpu_uuid="GPU-1", epoch="e", energy_mj=self.energy_mj, sampled_at=now
        )
        return SourceSample((reading,))

    def close(self) -> None: ...


def kept_on_disk(folder: Path, rounds: int, interval_s: str) -> int:
    """Of so many rounds right after each other, how many a kill would leave; all are spooled."""
    settings = settings_for(folder, interval_s=interval_s, replay_file=folder)
    with Spool(settings.spool_dir, source="/hosts/h", producer="h", new_epoch=1) as spool:
        held = HeldRounds(settings.spool_dir, batch_bytes=2**20, next_sequence=1)
        agent = Collector(settings, sources=[Steady()], spool=spool, held=held, tally=Tally())
        for _ in range(rounds):
            agent.collect_round()
        left = HeldRounds(settings.spool_dir, batch_bytes=2**20, next_sequence=1).lines
        agent.close()
        (batch,) = spool.waiting(9)
    events = _events_of(batch)
    assert [event["data"]["energy_mj"] for event in events] == list(range(1, rounds + 1))
    assert len({event["recordedtime"] for event in events}) == rounds, "each round has its own time"
    return len(left)


def test_a_round_is_on_disk_within_a_second_and_those_that_come_faster_together(
    tmp_path: Path,
) -> None:
    assert kept_on_disk(tmp_path / "1", 3, "1") == 3
    assert kept_on_disk(tmp_path / "10", 3, "0.1") < 3


@pytest.mark.parametrize("answer", [(401, {}, b"who?"), (503, {}, b""), None])
def test_a_recording_that_is_not_in_the_books_is_said_by_the_exit_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: Answer | None
) -> None:
    caplog.set_level(logging.INFO)
    with serving(lambda _: answer or (200, {}, b"")) as good:
        url = "http://127.0.0.1:9" if answer is None else good
        assert run_agent(replaying(tmp_path, url, drain_s="0.2")) == 1
    assert "delivered=0 refused=0 lost_batches=0 left_batches=" in caplog.text


def test_refused_events_are_said_by_the_exit_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with serving(lambda _: (422, {}, b'{"received": 1, "detail": "no"}')) as url:
        assert run_agent(replaying(tmp_path, url)) == 1
    assert "delivered=0 refused=5 lost_batches=0 left_batches=0" in caplog.text


def test_the_documented_file_is_one_that_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "collector.md").read_text(encoding="utf-8")
    receiver = Receiver()
    with (
        serving(receiver.answer) as url,
        serving(lambda _: (200, {}, METRICS.encode())) as engine,
    ):
        path = tmp_path / "collector.toml"
        documented = text.split("```toml\n")[1].split("```")[0]
        for theirs, ours in {
            "/var/lib/tokenledger/spool": str(tmp_path / "spool"),
            "http://127.0.0.1:8000": engine,
            "http://ledger:8787": url,
            'interval_s = "1"': 'interval_s = "0.05"',
            'batch_s = "20"': 'batch_s = "0"',
        }.items():
            assert theirs in documented
            documented = documented.replace(theirs, ours)
        path.write_text(documented, encoding="utf-8")
        stop = threading.Event()
        settings = load_settings(path, nvml="off")
        agent = threading.Thread(target=run_agent, args=(settings,), kwargs={"stop": stop})
        agent.start()
        wait_for(receiver, 1)
        stop.set()
        agent.join(PATIENCE_S)
    assert {event["data"]["instance"] for event in events_of(receiver)} == {"gpu-7:8000"}


def test_the_documented_events_are_ones_the_ledger_reads() -> None:
    text = (ROOT / "docs" / "collector.md").read_text(encoding="utf-8")
    events = [json.loads(part.split("```")[0]) for part in text.split("```json\n")[1:]]
    assert [event["type"] for event in events] == [ENERGY]
    assert [explain(event) for event in events] == [()]


def replaying(folder: Path, url: str, **more: Any) -> CollectSettings:
    return settings_for(
        folder,
        replay_file=recording(folder),
        replay_start="2026-03-01T00:00:00Z",
        replay_speed="0",
        exit_when_done=True,
        http={"url": url, "api_key": "k"},
        **more,
    )


def test_a_server_that_hangs_or_fails_stops_no_other(tmp_path: Path) -> None:
    receiver, stop = Receiver(), threading.Event()
    release = threading.Event()
    with (
        serving(lambda _: (200, {}, METRICS.encode())) as good,
        serving(lambda _: (500, {}, b"no")) as broken,
        serving(lambda _: (release.wait(5), (200, {}, b""))[1]) as slow,
        serving(receiver.answer) as url,
    ):
        urls = {"good": good, "broken": broken, "slow": slow}
        targets = [{"engine": "vllm", "url": u, "instance": name} for name, u in urls.items()]
        settings = settings_for(tmp_path, targets=targets, http={"url": url, "api_key": "k"})
        agent = threading.Thread(target=run_agent, args=(settings,), kwargs={"stop": stop})
        agent.start()
        wait_for(receiver, 3)
        stop.set()
        release.set()
        agent.join(PATIENCE_S)
    events = events_of(receiver)
    assert {event["data"]["instance"] for event in events} == {"good"}
    assert {event["type"] for event in events} == {COUNTERS}
    assert all(explain(event) == () for event in events)


def wait_for(receiver: Receiver, count: int) -> None:
    eventually(lambda: len(receiver.batches) >= count, f"{count} batches")


def test_sigterm_ends_cleanly_and_a_kill_loses_nothing(tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TOKENLEDGER_COLLECT_SOURCE": "/hosts/h",
        "TOKENLEDGER_COLLECT_PRODUCER": "h",
        "TOKENLEDGER_COLLECT_SPOOL_DIR": str(tmp_path / "spool"),
        "TOKENLEDGER_COLLECT_NVML": "off",
        "TOKENLEDGER_COLLECT_INTERVAL_S": "0.05",
        "TOKENLEDGER_COLLECT_BATCH_S": "0.05",
        "TOKENLEDGER_COLLECT_SCRAPE_INTERVAL_S": "0.05",
        "TOKENLEDGER_COLLECT_DRAIN_S": "5",
        "TOKENLEDGER_COLLECT_HTTP__API_KEY": "k",
    }
    receiver = Receiver()
    command = [sys.executable, "-c", RUN + "raise SystemExit(run_agent(load_settings()))"]
    with serving(lambda _: (200, {}, METRICS.encode())) as good, serving(receiver.answer) as url:
        environment["TOKENLEDGER_COLLECT_HTTP__URL"] = url
        environment["TOKENLEDGER_COLLECT_TARGETS"] = (
            f'[{{"engine":"vllm","url":"{good}","instance":"i"}}]'
        )
        for how, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
            seen = len(receiver.batches)
            with subprocess.Popen(command, env=environment) as process:
                wait_for(receiver, seen + 3)
                process.send_signal(how)
                assert process.wait(PATIENCE_S) == status
    sequences = [batch.header.sequence for batch in receiver.batches]
    assert set(sequences) == set(range(1, max(sequences) + 1)), "no number is missing"
    assert len({batch.header.epoch for batch in receiver.batches}) == 1
    bodies = {batch.header.sequence: batch.body for batch in receiver.batches}
    assert all(bodies[batch.header.sequence] == batch.body for batch in receiver.batches)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "no destination"),
        ({"http": {"url": "http://127.0.0.1:9", "api_key": "k"}}, "nothing to collect"),
        (
            {
                "http": {"url": "http://127.0.0.1:9", "api_key": "k"},
                "targets": [{"engine": "abacus", "url": "http://127.0.0.1:9", "instance": "i"}],
            },
            "no engine 'abacus'",
        ),
    ],
)
def test_settings_that_collect_or_send_nothing_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, more: dict[str, Any], reason: str
) -> None:
    assert run_agent(settings_for(tmp_path, **more)) == 2
    assert reason in caplog.text


def test_settings_come_from_one_file_and_variables_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokenledger.toml"
    path.write_text(
        '[collect]\nproducer = "a"\nsource = "/a"\n'
        '[[collect.targets]]\nengine = "vllm"\nurl = "http://h:8000"\ninstance = "i"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("TOKENLEDGER_COLLECT_PRODUCER", "b")
    read = load_settings(path)
    assert (read.source, read.producer, read.targets[0].instance) == ("/a", "b", "i")


@pytest.mark.parametrize(
    "text",
    [
        "[collect]\nintervall_s = 1\n",
        "[collect]\ninterval_s = 0\n",
        "[collect\n",
        '[collect.http]\nurl = "http://h"\napi_key = "tlk_…"\n',
        '[colect]\nproducer = "a"\n',
        'producer = "a"\n',
    ],
)
def test_a_setting_that_is_misspelt_or_out_of_range_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokenledger.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CollectSettingsError, match=r"tokenledger\.toml"):
        load_settings(path)


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, http={"url": "http://h", "api_key": "hush-hush"})
    assert "hush-hush" not in repr(settings)


def test_probe_says_what_a_host_offers_and_why_not(tmp_path: Path) -> None:
    with serving(lambda _: (200, {}, METRICS.encode())) as good:
        targets = [
            {"engine": "vllm", "url": good, "instance": "i"},
            {"engine": "vllm", "url": "http://127.0.0.1:9", "instance": "j"},
        ]
        report = probe(settings_for(tmp_path, targets=targets))
    assert [target.counters for target in report.targets] == [("prompt_tokens",), ()]
    assert "127.0.0.1:9" in (report.targets[1].problem or "")
    assert report.boards or report.nvml_problem
    assert not (tmp_path / "spool").exists(), "looking changes nothing"
