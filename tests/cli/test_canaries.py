"""Processes that are given secrets and fail: nothing they print, log or answer holds one of them.

Libraries log all they can, so that what only they say is looked at as well.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.support.database import Database
from tests.support.ports import free_port
from tests.support.usage import attempt, keyed

CANARY = "Canary7Secret"
ODD = f"{CANARY}é\t\x7f"
NOBODY = "127.0.0.1:1"
TOLD_ALL = """
import logging, sys
for name in ("kafka", "asyncpg", "asyncio", "urllib3", "httpx", "litestar", "uvicorn", "granian",
             "ledger", "collectors"):
    logging.getLogger(name).setLevel(logging.DEBUG)
from ledger.cli import main
sys.argv = ["tokenledger", *sys.argv[1:]]
main()
"""
SECRETS = {
    "TOKENLEDGER_LOG_LEVEL": "DEBUG",
    "TOKENLEDGER_END_USER_SECRET": CANARY,
    "TOKENLEDGER_KAFKA_BOOTSTRAP": NOBODY,
    "TOKENLEDGER_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "TOKENLEDGER_KAFKA_SASL_MECHANISM": "PLAIN",
    "TOKENLEDGER_KAFKA_USERNAME": "me",
    "TOKENLEDGER_KAFKA_PASSWORD": CANARY,
}
ADDRESSES = {
    "wrong password": f"postgresql://tokenledger_worker:{CANARY}@HOST",
    "wrong user": f"postgresql://{CANARY}x:{CANARY}@HOST",
    "nobody there": f"postgresql://tokenledger_worker:{CANARY}@{NOBODY}/books",
    "no such host": f"postgresql://tokenledger_worker:{CANARY}@host.invalid/books",
    "not a port": f"postgresql://tokenledger_worker:{CANARY}@host:port/books",
    "half a host": f"postgresql://tokenledger_worker:{CANARY}@[::1/books",
    "no scheme": f"tokenledger_worker:{CANARY}@{NOBODY}/books",
    "another scheme": f"mysql://tokenledger_worker:{CANARY}@{NOBODY}/books",
    "a password in the query": f"postgresql://{NOBODY}/books?password={CANARY}",
    "a password of all kinds": f"postgresql://me:{quote(CANARY)}%2F%40:@{CANARY}@{NOBODY}/books",
}
TARGET = f"""
[[collect.targets]]
engine = "vllm"
url = "http://me:{CANARY}@{NOBODY}/metrics"
instance = "one"
"""
SERVING = {"kafka", "http"}
COLLECTORS = {
    "kafka": f"""
[collect.kafka]
bootstrap = ["{NOBODY}"]
security_protocol = "SASL_PLAINTEXT"
sasl_mechanism = "PLAIN"
sasl_username = "me"
sasl_password = "{CANARY}"
""",
    "http": f"""
[collect.http]
url = "http://me:{CANARY}@{NOBODY}"
api_key = "tlk_0123456789ab_{CANARY}"
""",
    "a key of odd characters": f"""
[collect.http]
url = "http://{NOBODY}"
api_key = "{CANARY}é\\t"
""",
    "a name that is none": f"""
[collect.kafka]
bootstrap = ["{NOBODY}"]
sasl_pasword = "{CANARY}"
""",
}


@contextmanager
def process(
    arguments: Sequence[str], given: Mapping[str, str], folder: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that writes all it says into `folder`/said; it is asked to end at last."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **SECRETS, **given}
    with (folder / "said").open("wb") as said:
        running = subprocess.Popen(
            [sys.executable, "-c", TOLD_ALL, *arguments],
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def said_by(folder: Path) -> str:
    return (folder / "said").read_text(errors="replace")


def until(folder: Path, running: "subprocess.Popen[bytes]", words: str) -> None:
    """Wait until a process has said these words."""
    end = time.monotonic() + 90
    while words not in said_by(folder):
        assert running.poll() is None, said_by(folder)
        assert time.monotonic() < end, said_by(folder)
        time.sleep(0.1)


@pytest.mark.parametrize("wrong", ADDRESSES)
def test_no_address_of_a_database_that_fails_is_said(
    wrong: str, database: Database, tmp_path: Path
) -> None:
    parts = urlsplit(database.worker_url)
    host = f"{parts.hostname or '127.0.0.1'}:{parts.port or 5432}/{database.name}"
    address = ADDRESSES[wrong].replace("HOST", host)
    urls = {f"TOKENLEDGER_{role}_URL": address for role in ("OWNER", "WORKER", "API")}
    with process(["status"], urls, tmp_path) as running:
        running.wait(90)
    said = said_by(tmp_path)
    assert running.returncode
    assert "error: " in said
    assert "Traceback" not in said
    assert CANARY not in said


def test_a_worker_says_no_password_of_a_broker_that_is_away(
    database: Database, tmp_path: Path
) -> None:
    urls = {"TOKENLEDGER_WORKER_URL": database.worker_url}
    # What the second process says is told by its first words alone.
    with process(["worker", "--processes", "2"], urls, tmp_path) as running:
        until(tmp_path, running, NOBODY)
        while said_by(tmp_path).count("worker starts again") < 4:
            time.sleep(0.1)
    assert "DEBUG kafka" in said_by(tmp_path)
    assert CANARY not in said_by(tmp_path)


@pytest.mark.parametrize("to", COLLECTORS)
def test_a_collector_says_no_secret_of_its_file(to: str, tmp_path: Path) -> None:
    spool = f'[collect]\nspool_dir = "{tmp_path}/spool"\nnvml = "off"\ninterval_s = 0.05\n'
    path = tmp_path / "collector.toml"
    path.write_text(spool + COLLECTORS[to] + TARGET)
    arguments = ["collect", "--config", str(path)]
    with process(arguments, {}, tmp_path) as running:
        if to in SERVING:
            until(tmp_path, running, NOBODY)
            time.sleep(1)
        else:
            assert running.wait(90) != 0
    assert said_by(tmp_path), "it has something to say"
    assert CANARY not in said_by(tmp_path)


AUTHORIZATIONS = (
    *(
        f"Bearer {CANARY}",
        f"Bearer tlk_0123456789ab_{CANARY}",
        f"Bearer {ODD}",
        f"Bearer  {CANARY}",
    ),
    *(f"bearer {CANARY} {CANARY}", f"Basic {CANARY}", f"Token {CANARY}", CANARY),
    *(f"Bearer tlk_0123456789ab_{CANARY * 900}", f"Bearer {CANARY}\x00", f"Bearer '{CANARY}\""),
)
ASKED = ("GET /v1/me", "GET /metrics", "POST /v1/events", "GET /v1/no-such", "PUT /v1/events")


def test_a_server_says_and_answers_no_key_whatever_comes_as_one(
    database: Database, tmp_path: Path
) -> None:
    port = free_port()
    given = {"TOKENLEDGER_WORKER_URL": database.worker_url, "TOKENLEDGER_PORT": str(port)}
    given["TOKENLEDGER_API_URL"] = database.api_url
    with process(["api"], given, tmp_path) as running:
        _until_open(port, running, tmp_path)
        answers = [
            (asked, _ask(port, asked, header)) for asked in ASKED for header in AUTHORIZATIONS
        ]
    for asked, answer in answers:
        assert answer.split(b" ")[1][:1] == b"4", (asked, answer)
        assert CANARY.encode() not in answer, asked
    assert " DEBUG " in said_by(tmp_path), "at the level that was set, in the form without secrets"
    assert "Invalid HTTP request" in said_by(tmp_path)
    assert " - uvicorn" not in said_by(tmp_path)
    assert CANARY not in said_by(tmp_path)


def _until_open(port: int, running: "subprocess.Popen[bytes]", folder: Path) -> None:
    end = time.monotonic() + 90
    while b" 200 " not in _ask(port, "GET /healthz", ""):
        assert running.poll() is None, said_by(folder)
        assert time.monotonic() < end, said_by(folder)
        time.sleep(0.2)


def _ask(port: int, asked: str, authorization: str) -> bytes:
    """All that a server answers to a request as it stands, odd characters and all."""
    body = keyed(attempt(end_user_id="ann")).body
    head = f"{asked} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {authorization}\r\n"
    head += f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(head.encode("latin-1") + body)
            while part := connection.recv(65_536):
                answer += part
    except OSError:
        return answer
    return answer
