"""Probe says what a host offers, what is missing and what to do, as a table and as JSON."""

import json
import os
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from collectors.advice import NVML_ADVICE, OTHERWISE, as_table, find_lacking, nvml_finding
from collectors.settings import load_settings
from ledger.cli import cli
from tests.collectors.servers import Answer, serving

METRICS = b'vllm:prompt_tokens_total{engine="0",model_name="m"} 5.0\n'
NOWHERE = "127.0.0.1:9"
SECRET = "tlk_k_secret"
UNKNOWN = {
    "type": "urn:tokenledger:problem:unauthenticated",
    "detail": "The API key is unknown or revoked.",
}


def written(folder: Path, more: str = "") -> Path:
    path = folder / "collector.toml"
    path.write_text(f'[collect]\nnvml = "off"\nspool_dir = "{folder}/spool"\n{more}')
    return path


def ledger_and_engine(
    key: dict[str, Any] | None,
) -> Callable[[BaseHTTPRequestHandler], Answer]:
    """A server with the page of an engine, and a ledger that says a key is so, or is none."""

    def answered(request: BaseHTTPRequestHandler) -> Answer:
        if not request.path.endswith("/v1/me"):
            return 200, {}, METRICS
        if key is None:
            return 401, {}, json.dumps(UNKNOWN).encode()
        return 200, {}, json.dumps({"key_id": "k", **key}).encode()

    return answered


def probed(path: Path) -> dict[str, dict[str, str]]:
    done = CliRunner().invoke(cli, ["probe", "--json", "--config", str(path)])
    assert done.exit_code == 0, done.output
    return {row["what"]: row for row in json.loads(done.stdout)["findings"]}


def without_room(said: str) -> str:
    """What is said, but not how much of the disk was free then: others write to it too."""
    return re.sub(r"[\d,]+ MiB free", "MiB free", said)


def test_everything_that_is_there_is_said_to_be(tmp_path: Path) -> None:
    with serving(ledger_and_engine({"role": "admin", "sources": []})) as url:
        target = f'[[collect.targets]]\nengine = "vllm"\nurl = "{url}"\ninstance = "i"\n'
        path = written(tmp_path, f'{target}[collect.http]\nurl = "{url}"\napi_key = "k"\n')
        rows = probed(path)
        table = CliRunner().invoke(cli, ["probe", "--config", str(path)]).stdout
    assert {row["state"] for row in rows.values()} == {"ok"}
    assert rows.keys() == {f"vllm at {url}", "spool", "ledger", "key"}
    for what, row in rows.items():
        assert f"{what}  " in table
        assert without_room(row["said"]) in without_room(table)
    assert not (tmp_path / "spool").exists(), "looking changes nothing"


KEYS = (
    ({"role": "ingest", "sources": ["/hosts/a"]}, "ok", "may send as /hosts/a"),
    ({"role": "ingest", "sources": ["/hosts/b"]}, "trouble", "for /hosts/b"),
    ({"role": "customer", "sources": []}, "trouble", "role customer"),
    (None, "trouble", "answered 401 Unauthorized: The API key is unknown or revoked."),
)


@pytest.mark.parametrize(("key", "state", "said"), KEYS)
def test_the_ledger_is_asked_whose_key_it_is(
    tmp_path: Path, key: dict[str, Any] | None, state: str, said: str
) -> None:
    with serving(ledger_and_engine(key)) as url:
        http = f'[collect.http]\nurl = "{url}/books"\napi_key = "{SECRET}"\n'
        row = probed(written(tmp_path, f'source = "/hosts/a"\n{http}'))["key"]
    assert row["state"] == state
    assert said in row["said"]
    assert bool(row["do"]) == (state != "ok")


def test_a_server_that_is_no_ledger_is_told(tmp_path: Path) -> None:
    with serving(lambda _: (200, {}, METRICS)) as url:
        row = probed(written(tmp_path, f'[collect.http]\nurl = "{url}"\napi_key = "k"\n'))["key"]
    assert row["said"] == "answered 200 OK: no ledger says that"


def test_what_is_missing_comes_with_what_to_do(tmp_path: Path) -> None:
    target = f'[[collect.targets]]\nengine = "vllm"\nurl = "http://{NOWHERE}"\ninstance = "i"\n'
    path = written(tmp_path, f'{target}[collect.kafka]\nbootstrap = ["{NOWHERE}", "b"]\n')
    rows = probed(path)
    table = CliRunner().invoke(cli, ["probe", "--config", str(path)]).stdout
    missing = [row for row in rows.values() if row["state"] != "ok"]
    assert {row["what"] for row in missing} == {f"vllm at http://{NOWHERE}", "broker"}
    assert all(row["do"] and f"-> {row['do']}" in table for row in missing)


def test_a_host_that_is_told_nothing_is_told_what_it_needs(tmp_path: Path) -> None:
    rows = probed(written(tmp_path))
    assert rows["destination"]["state"] == "missing"
    assert "collect.http" in rows["destination"]["do"]


def found(folder: Path, **more: Any) -> dict[str, str]:
    settings = load_settings(None, spool_dir=folder / "a" / "spool", **more)
    return {row.what: row.do for row in find_lacking(settings) if row.state != "ok"}


def test_a_disk_that_is_too_small_is_found(tmp_path: Path) -> None:
    assert "lower spool_bytes" in found(tmp_path, spool_bytes=2**60)["spool"]


@pytest.mark.skipif(os.geteuid() == 0, reason="ROOT MAY WRITE EVERYWHERE: no folder refuses it")
def test_a_folder_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "spool_dir" in found(tmp_path)["spool"]


def test_a_spool_under_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert "spool_dir" in found(tmp_path)["spool"]


@pytest.mark.parametrize(("words", "do"), NVML_ADVICE)
def test_what_the_driver_says_has_what_helps(words: str, do: str) -> None:
    assert nvml_finding("GPUs", f"nvml: nvmlInit failed: {words}").do == do
    assert nvml_finding("GPUs", "nvml: something new").do == OTHERWISE


def test_a_table_of_nothing_is_nothing() -> None:
    assert as_table(()) == ""
