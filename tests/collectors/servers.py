"""Small real HTTP servers: one answers anything, one keeps the batches it is sent."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ledger.wire.batch import Batch, BatchHeader

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def serving(
    answer: Callable[[BaseHTTPRequestHandler], Answer], context: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Serve until the block ends, over TLS where a context is given; gives the server's URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: pytest shows what failed."""

        def _answer(self) -> None:
            status, headers, body = answer(self)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing: a client that is let in nowhere is what some tests want."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Receiver:
    """Keeps every batch; answers what `answers` says first, then as a ledger that took it."""

    answers: list[Answer] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> Answer:
        """Take one batch."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        header = BatchHeader.from_headers(request.headers.items())
        assert header is not None
        self.paths.append(request.path)
        self.keys.append(request.headers["Authorization"])
        self.batches.append(Batch(header, body))
        return self.answers.pop(0) if self.answers else (200, {}, b'{"received":%d}' % header.count)
