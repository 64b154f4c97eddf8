"""A real HTTP server that keeps what it is told and answers as a test wants."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext


@dataclass(frozen=True, slots=True)
class Told:
    """A message as it arrived; the names of its headers are small."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Listener:
    """Where it listens, what it was told, and what it answers next; the last answer stays."""

    url: str = ""
    told: list[Told] = field(default_factory=list)
    answers: list[int] = field(default_factory=lambda: [200])
    location: str = ""
    before_answer: Callable[[], None] = lambda: None

    @property
    def ids(self) -> list[str]:
        """The ids of what it was told, in order."""
        return [each.headers["webhook-id"] for each in self.told]


@contextmanager
def listening(context: SSLContext | None = None) -> Iterator[Listener]:
    """One on a free port of this host, by TLS where there is a context, until left."""
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            listener.told.append(Told(self.path, headers, body))
            listener.before_answer()
            answers = listener.answers
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            if listener.location:
                self.send_header("Location", listener.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    listener.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}/hook?x=1"
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
