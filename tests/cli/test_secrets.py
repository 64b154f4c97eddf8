"""No key, password or credential of an address is in anything that leaves a process."""

import logging
import os
import stat
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from collectors.errors import CollectSettingsError
from collectors.settings import load_settings
from ledger.cli import cli
from ledger.settings import Settings
from ledger.wire.secrets import ScrubbingFormatter, scrub

CANARY = "Canary7Secret"
KEY = f"tlk_0123456789ab_{CANARY}"
OTHER = "tlk_0123456789ab_another-secret"
AWAY = f"postgresql://someone:{CANARY}@127.0.0.1:1/books"
ENVIRONMENT = {
    "TOKENLEDGER_OWNER_URL": AWAY,
    "TOKENLEDGER_WORKER_URL": AWAY,
    "TOKENLEDGER_API_URL": AWAY,
    "TOKENLEDGER_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "TOKENLEDGER_KAFKA_PASSWORD": CANARY,
    "TOKENLEDGER_END_USER_SECRET": CANARY,
    "TOKENLEDGER_COLLECT_HTTP__API_KEY": KEY,
    "TOKENLEDGER_COLLECT_HTTP__URL": f"ftp://someone:{CANARY}@127.0.0.1:1",
    "TOKENLEDGER_COLLECT_TARGETS": f'[{{"engine": "no", "url": "http://u:{CANARY}@h:1/metrics",'
    ' "instance": "i"}]',
}
# Arguments with which a command comes as far as it can without a database.
MORE = {
    "keys": ["revoke", KEY],
    "list": ["entities"],
    "show": ["customer", KEY],
    "change": ["customer", KEY, "--from", "2024-01-01", "--set", f"name={CANARY}"],
    "invoice": ["pdf", KEY],
    "conflicts": ["list"],
    "quarantine": ["list"],
    "suspense": ["list"],
    "collect": ["--set", f"nvml=off {KEY}"],
    "probe": ["--set", KEY],
    "import": ["entities", f"/nowhere/{KEY}"],
    "up": ["--port", KEY],
    "demo": ["--output", "/dev/null/x"],
}


def test_no_command_says_a_secret(tmp_path: Path) -> None:
    for name in cli.list_commands(click.Context(cli)):
        for arguments in ([], MORE.get(name, ["--no-such-option", KEY])):
            environment = {**ENVIRONMENT, "HOME": str(tmp_path)}
            if name in {"up", "demo", "api", "worker", "collect"} and not arguments:
                continue  # These would serve, and are asked with what stops them.
            result = CliRunner().invoke(cli, [name, *arguments], env=environment)
            assert CANARY not in result.output, f"{name} {arguments}: {result.output}"


def run(code: str, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **ENVIRONMENT, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_no_traceback_and_no_log_of_a_process_says_a_secret(tmp_path: Path) -> None:
    code = f"""
import logging, threading
from ledger.settings import Settings
from ledger.wire.secrets import log_to_stderr, scrub_tracebacks
scrub_tracebacks()
settings = Settings()
log_to_stderr("INFO")
logging.getLogger("kafka").info("login of %s with %r", "me", "{CANARY}")
try:
    raise ValueError(settings.worker_url)
except ValueError:
    logging.exception("could not reach %s", settings.worker_url)
def end():
    raise RuntimeError("Authorization: Bearer {KEY}")
thread = threading.Thread(target=end)
thread.start()
thread.join()
raise RuntimeError(f"{{settings!r}} {{settings.owner_url}}")
"""
    done = run(code, tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 3, done.stderr
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize("rest", ["@[::1/books", "@host:port/books", "@host:99999/books"])
def test_an_address_that_is_none_is_refused_in_one_line(rest: str, tmp_path: Path) -> None:
    environment = {"TOKENLEDGER_WORKER_URL": f"postgresql://me:{CANARY}{rest}"}
    environment |= {"HOME": str(tmp_path), "TOKENLEDGER_LOG_LEVEL": "DEBUG"}
    result = CliRunner().invoke(cli, ["status"], env=environment)
    assert result.exit_code != 0
    assert len(result.output.splitlines()) == 1, result.output
    assert "TOKENLEDGER_WORKER_URL is wrong" in result.output
    assert CANARY not in result.output


def test_settings_hide_what_they_were_given() -> None:
    settings = Settings(worker_url=AWAY)
    assert CANARY not in repr(settings) + str(settings)
    with pytest.raises(ValueError, match="validation error") as refused:
        Settings.model_validate({"port": CANARY})
    assert CANARY not in str(refused.value) + repr(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"http": CANARY},
        {"http": {"url": CANARY, "api_key": [CANARY]}},
        {"interval_s": CANARY},
        {"targets": [CANARY]},
        {"kafka": {"bootstrap": ["b"], "sasl_mechanism": CANARY}},
    ],
)
def test_settings_of_the_collector_hide_what_they_were_given(wrong: dict[str, Any]) -> None:
    with pytest.raises(CollectSettingsError) as refused:
        load_settings(None, **wrong)
    shown = "".join(traceback.format_exception(refused.value))
    assert CANARY not in shown + repr(refused.value)


def test_what_a_command_makes_is_its_users_alone(tmp_path: Path) -> None:
    code = f"""
import os, sys
sys.argv = ["tokenledger", "probe", "--set", "nvml=off"]
from ledger import cli
try:
    cli.main()
except SystemExit:
    pass
os.makedirs({str(tmp_path / "made" / "deep")!r})
open({str(tmp_path / "made" / "file")!r}, "w").close()
"""
    run(code, tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"made": 0o700, "deep": 0o700, "file": 0o600}


@given(st.text("abcdXYZ0189-_.~!$&()*+,;=:@/%", min_size=8, max_size=30))
def test_credentials_of_an_address_go_whatever_they_hold(password: str) -> None:
    said = scrub(f"no connection to postgresql://me:x{password}@db.example/books: refused")
    assert f"x{password}" not in said
    assert said.endswith("db.example/books: refused")


def test_a_record_is_scrubbed_with_its_arguments() -> None:
    record = logging.LogRecord("a", 20, "f", 1, "key %s, %s", (OTHER, "password='a b'"), None)
    assert ScrubbingFormatter("%(message)s").format(record) == (
        "key tlk_0123456789ab_…, password=…"
    )


@pytest.mark.parametrize("plain", ["tokens=5", "see https://a.example/x?y=1", "a basic card"])
def test_what_is_no_secret_stays(plain: str) -> None:
    assert scrub(plain) == plain
