"""Connections that send half a head, stall, read nothing or are too many: none holds the door."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

import psutil
import pytest
import uvicorn
from litestar.types import Receive, Scope, Send

from ledger.api import arriving, protocol
from ledger.api.headers import HEADERS
from ledger.api.server import server_config
from ledger.settings import Settings
from ledger.store.queries import Connection
from tests.api.served import Served, application, attempt, serve
from tests.support.database import Database
from tests.support.waiting import eventually

HALF_A_HEAD = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Slow: "
LARGE = 64 * 1024 * 1024


@contextmanager
def listening(app: object, **limits: int) -> Iterator[int]:
    """Serve on a free port with these limits of connections."""
    server = uvicorn.Server(
        server_config(app, Settings(**limits), port=0, log_config=None)  # type: ignore[arg-type]
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once, or with much where that is asked for."""
    if str(scope["type"]) == "lifespan":
        return
    body = b"x" * LARGE if scope["path"] == "/large" else b"ok"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
    if scope["path"] == "/large":
        await receive()


def ask(port: int, path: str = "/") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return whole(one)


def whole(one: socket.socket) -> bytes:
    said = b""
    while part := one.recv(65_536):
        said += part
    return said


def test_300_half_sent_heads_are_closed_and_answered_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 6)
    with (
        listening(plain, connections_max=1_000, connections_of_address_max=1_000) as port,
        ExitStack() as stack,
    ):
        half = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            for _ in range(300)
        ]
        for one in half:
            one.sendall(HALF_A_HEAD)
        silent = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        assert ask(port).startswith(b"HTTP/1.1 200")
        # A byte now and then does not help.
        time.sleep(0.5)
        for one in half[:10]:
            one.sendall(b"x")
        answers = {whole(one).split(b"\r\n", 1)[0] for one in half}
        assert answers == {b"HTTP/1.1 408 Request Timeout"}
        assert whole(silent) == b""


def test_a_head_without_end_is_refused() -> None:
    with listening(plain) as port, socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(20)
        one.sendall(HALF_A_HEAD + b"x" * protocol.HEAD_BYTES_MAX)
        assert whole(one).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "sent",
    [
        *(b"garbage\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        *(b"GET /\x00 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"),
        b"GET / HTTP/1.1\r\nBad Header\r\n\r\n",
    ],
)
def test_what_is_not_http_is_answered_like_everything_else(sent: bytes) -> None:
    with listening(plain) as port, socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(20)
        one.sendall(sent)
        head, _, body = whole(one).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert {name for name in HEADERS if name.encode() not in head} == set()
    assert json.loads(body)["type"] == "urn:tokenledger:problem:malformed-request"


def test_a_kept_connection_may_wait_and_ask_again() -> None:
    with listening(plain) as port, socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(20)
        for _ in range(3):
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(65_536).startswith(b"HTTP/1.1 200")


def test_connections_are_counted_by_address_and_those_beyond_hear_so() -> None:
    with (
        listening(plain, connections_max=10, connections_of_address_max=4) as port,
        ExitStack() as stack,
    ):
        open_ones = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(4)
        ]
        for one in open_ones:
            one.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(1)
        head, _, body = ask(port).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in head
        assert b"X-Content-Type-Options: nosniff" in head
        assert json.loads(body)["status"] == 503
        open_ones[0].close()
        eventually(lambda: ask(port).startswith(b"HTTP/1.1 200"), "room for another")


def test_half_sent_heads_from_one_address_make_room_for_who_comes() -> None:
    with (
        listening(plain, connections_max=300, connections_of_address_max=16) as port,
        ExitStack() as stack,
    ):
        half = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            for _ in range(100)
        ]
        for one in half:
            with suppress(ConnectionError):
                one.sendall(HALF_A_HEAD)
        for _ in range(10):
            assert ask(port).startswith(b"HTTP/1.1 200")
        # Whoever has asked keeps its place before those that have not.
        kept = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        for _ in range(3):
            kept.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
            assert ask(port).startswith(b"HTTP/1.1 200")


def test_kept_connections_of_many_make_room_for_another() -> None:
    with listening(plain, connections_max=8, connections_of_address_max=8) as port:
        with ExitStack() as stack:
            for _ in range(8):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert one.recv(65_536).startswith(b"HTTP/1.1 200")
            assert ask(port).startswith(b"HTTP/1.1 200")
        assert ask(port).startswith(b"HTTP/1.1 200")


def test_who_reads_no_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "READER_S", 0.5)
    with listening(plain) as port, socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(20)
        one.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one.recv(1)
        eventually(lambda: not _served_at(port), "it is let go")
        read = 1
        with suppress(ConnectionError):
            while part := one.recv(1 << 20):
                read += len(part)
        assert read < LARGE


def test_who_reads_slowly_but_reads_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "READER_S", 2)
    with listening(plain) as port, socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(20)
        one.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        read, pause_until = 0, time.monotonic() + 4
        while part := one.recv(4 << 20):
            read += len(part)
            if time.monotonic() < pause_until:
                time.sleep(0.1)
        assert read > LARGE


@asynccontextmanager
async def over(database: Database, worker: Connection) -> AsyncIterator[tuple[int, Served]]:
    settings = Settings(worker_url=database.worker_url, api_url=database.api_url)
    async with serve(database, worker) as served:
        with application(settings) as app, listening(app) as port:
            yield port, served


async def test_stalled_uploads_hold_nothing_and_end(
    database: Database, worker: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arriving, "STALLED_S", 2)
    async with over(database, worker) as (port, served):
        head = (
            "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
            f"Authorization: Bearer {served.keys['ingest']}\r\n"
        )

        def held_up() -> None:
            with ExitStack() as stack:
                stalled = [
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                    for _ in range(8)
                ]
                for one in stalled:
                    one.sendall(f"{head}Content-Length: 16000000\r\n\r\n".encode() + b"{" * 1000)
                with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
                    event = json.dumps(attempt("a"))
                    length = f"Connection: close\r\nContent-Length: {len(event)}\r\n\r\n"
                    one.sendall((head + length + event).encode())
                    assert whole(one).startswith(b"HTTP/1.1 200")
                assert {whole(one).split(b" ", 2)[1] for one in stalled} == {b"408"}

        await asyncio.to_thread(held_up)


async def test_failed_keys_are_limited_by_address_and_good_ones_are_not(served: Served) -> None:
    def bad() -> int:
        headers = {"Authorization": "Bearer tlk_000000000000_x"}
        answer = served.call("GET", "/v1/entities", role=None, headers=headers)
        if answer.status_code == 429:
            assert answer.headers["retry-after"] == "2"
        return answer.status_code

    found = [bad() for _ in range(130)]
    assert (found[0], found[-1]) == (401, 429)
    assert found == sorted(found)
    # A key that was used before, and one that comes for the first time.
    assert served.get("/v1/entities").status_code == 200
    assert served.get("/v1/entities", role="finance").status_code == 200


def _served_at(port: int) -> int:
    """Connections that this process serves there."""
    found = psutil.Process().net_connections("tcp4")
    return sum(one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED for one in found)
