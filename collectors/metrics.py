"""What the daemon shows of itself: `/metrics` for Prometheus, `/healthz` for who restarts it.

One request after another on a thread of its own: one reader asks every few seconds, and a library
for more would cost a GPU host more memory than all that it reads.
"""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from collectors.agent import Collector
from collectors.delivery import Delivery
from collectors.errors import CollectSettingsError
from collectors.settings import CollectSettings
from collectors.spool import Spool

log = logging.getLogger(__name__)

PREFIX = "tokenledger_collector_"
# A daemon that has not come round for so long, and for so many of its rounds, is ill.
STILL_S, STILL_ROUNDS = 30, 10
REQUEST_S = 2
# Of one page; its log names all.
TROUBLES_NAMED = 20
REQUEST_BYTES_MAX = 8192
TEXT, JSON = "text/plain; version=0.0.4; charset=utf-8", "application/json"


@dataclass(slots=True)
class DaemonFigures:
    """The daemon's figures; `look` takes those of now, when somebody asks."""

    look: Callable[[], None] = lambda: None

    energy_readings: int = 0
    scrapes: int = 0
    faults: int = 0
    lost_events: int = 0
    unfit_events: int = 0
    delivered: int = 0
    refused: int = 0
    publish_failures: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    dropped: int = 0
    sequence: int = 0
    reloads: int = 0
    reload_failures: int = 0
    read_at: float = field(default_factory=time.monotonic)
    confirmed_at: float | None = None
    interval_s: float = 1.0
    sending: bool = True
    troubles: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def take(self, agent: Collector, delivery: Delivery, spool: Spool) -> None:
        """The figures of now."""
        tally, state = agent.tally, spool.state()
        self.energy_readings, self.scrapes = tally.energy_readings, tally.scrapes
        self.faults, self.lost_events = tally.faults, tally.lost_events
        self.unfit_events = tally.unfit_events
        self.delivered, self.refused = delivery.delivered, delivery.refused
        self.publish_failures = delivery.failures
        self.waiting, self.waiting_bytes = state.waiting_batches, state.waiting_bytes
        self.dropped, self.sequence = state.dropped_batches, state.last_sequence
        self.read_at, self.confirmed_at = tally.read_at, delivery.confirmed_at
        self.interval_s, self.sending = agent.interval_s, delivery.alive
        self.unread = agent.unread
        self.troubles = agent.troubles.counts() | delivery.troubles.counts()

    def line(self) -> str:
        """One line for the log."""
        return (
            f"energy_readings={self.energy_readings} scrapes={self.scrapes} faults={self.faults} "
            f"lost_events={self.lost_events} delivered={self.delivered} refused={self.refused} "
            f"publish_failures={self.publish_failures} waiting={self.waiting} "
            f"waiting_bytes={self.waiting_bytes} dropped={self.dropped} sequence={self.sequence}"
        )

    def ill(self) -> str | None:
        """What is wrong with the process itself; what it cannot read or send is not."""
        silent_s = time.monotonic() - self.read_at
        if silent_s > max(STILL_S, STILL_ROUNDS * self.interval_s):
            return f"no round for {silent_s:.0f} s"
        return None if self.sending else "the sending thread ended"

    def exposition(self) -> str:
        """All figures as Prometheus text."""
        return "".join(_lines(self))


def _lines(shown: DaemonFigures) -> Iterator[str]:
    for name, (kind, about, value) in _figures(shown).items():
        full = f"{PREFIX}{name}"
        yield f"# HELP {full} {about}\n# TYPE {full} {kind}\n{full} {value}\n"
    name = f"{PREFIX}trouble_events_total"
    yield f"# HELP {name} How often each trouble that goes on was met.\n# TYPE {name} counter\n"
    for where, count in sorted(shown.troubles.items()):
        yield f'{name}{{where="{_label(where)}"}} {count}\n'
    yield from _unread(shown.unread)


def _unread(unread: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """How much of each page was left out, and the first of it by name."""
    name = f"{PREFIX}page_troubles"
    yield f"# HELP {name} Lines and series of a page that are not read.\n# TYPE {name} gauge\n"
    for instance, troubles in sorted(unread.items()):
        yield f'{name}{{instance="{_label(instance)}"}} {len(troubles)}\n'
    name = f"{PREFIX}page_trouble_info"
    yield f"# HELP {name} The first of them, each with its reason.\n# TYPE {name} gauge\n"
    for instance, troubles in sorted(unread.items()):
        for what in sorted(troubles)[:TROUBLES_NAMED]:
            yield f'{name}{{instance="{_label(instance)}",what="{_label(what)}"}} 1\n'


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _figures(shown: DaemonFigures) -> Mapping[str, tuple[str, str, int | float]]:
    now, confirmed_at = time.monotonic(), shown.confirmed_at
    silent_s = round(now - shown.read_at, 3)
    since = (
        {}
        if confirmed_at is None
        else {
            "last_confirmed_seconds": (
                "gauge",
                "Time since a batch was last confirmed.",
                round(now - confirmed_at, 3),
            )
        }
    )
    return {
        "energy_readings_total": ("counter", "Energy counters read.", shown.energy_readings),
        "scrapes_total": ("counter", "Pages of servers read.", shown.scrapes),
        "faults_total": ("counter", "Boards and servers that gave nothing.", shown.faults),
        "lost_events_total": ("counter", "Events no spool could keep.", shown.lost_events),
        "unfit_events_total": ("counter", "Events that fit no batch.", shown.unfit_events),
        "delivered_events_total": ("counter", "Events confirmed.", shown.delivered),
        "refused_events_total": ("counter", "Events refused for good.", shown.refused),
        "publish_failures_total": ("counter", "Tries to send that failed.", shown.publish_failures),
        "spool_waiting_batches": ("gauge", "Batches not confirmed.", shown.waiting),
        "spool_waiting_bytes": ("gauge", "Their size on disk.", shown.waiting_bytes),
        "spool_dropped_batches_total": ("counter", "Batches lost unsent.", shown.dropped),
        "spool_last_sequence": ("gauge", "Number of the last batch.", shown.sequence),
        "reloads_total": ("counter", "New settings taken.", shown.reloads),
        "reload_failures_total": ("counter", "New settings refused.", shown.reload_failures),
        "last_round_seconds": ("gauge", "Time since the last round.", silent_s),
        **since,
    }


@contextmanager
def serve_metrics(settings: CollectSettings, shown: DaemonFigures) -> Iterator[int | None]:
    """Answer at the address that the settings name until the block ends; gives the port."""
    if settings.metrics_port is None:
        yield None
        return
    address = (settings.metrics_host, settings.metrics_port)
    try:
        listener = socket.create_server(address, backlog=8)
    except OSError as error:
        raise CollectSettingsError(
            f"metrics_host {address[0]}, metrics_port {address[1]}: {error}; name another"
        ) from error
    ended = threading.Event()
    thread = threading.Thread(
        target=_answer_all, args=(listener, shown, ended), name="metrics", daemon=True
    )
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        ended.set()
        # Wakes the thread, which waits for callers.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(REQUEST_S + 1)
        listener.close()


def _answer_all(listener: socket.socket, shown: DaemonFigures, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            caller, _ = listener.accept()
        except OSError:
            continue
        with caller:
            try:
                caller.settimeout(REQUEST_S)
                caller.sendall(_answer(_request_line(caller), shown))
            except OSError as error:
                log.debug("metrics: %s", error)


def _request_line(caller: socket.socket) -> str:
    head, until = b"", time.monotonic() + REQUEST_S
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        more = caller.recv(REQUEST_BYTES_MAX)
        head += more
        if not more or len(head) > REQUEST_BYTES_MAX or time.monotonic() > until:
            break
    return head.split(b"\n", 1)[0].decode("latin-1").strip()


def _answer(request: str, shown: DaemonFigures) -> bytes:
    method, _, rest = request.partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    status, media, body = "404 Not Found", TEXT, "ask for /metrics or /healthz\n"
    if method not in {"GET", "HEAD"}:
        status, body = "405 Method Not Allowed", "only GET\n"
    elif path == "/metrics":
        shown.look()
        status, body = "200 OK", shown.exposition()
    elif path == "/healthz":
        shown.look()
        ill = shown.ill()
        status = "200 OK" if ill is None else "503 Service Unavailable"
        media, body = JSON, json.dumps({"status": ill or "ok", "waiting_batches": shown.waiting})
    text = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(text)}\r\n"
    answer = f"{head}Connection: close\r\n\r\n".encode()
    return answer if method == "HEAD" else answer + text
