"""What a host lacks for collecting, and what to do about each: rows of `tokenledger probe`."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from collectors.errors import CollectError
from collectors.settings import CollectSettings, HttpSettings
from collectors.to_http import HttpPublisher

CONNECT_S = 3
State = Literal["ok", "missing", "trouble"]
# Part of what the driver's library says, and what helps.
NVML_ADVICE = (
    (
        "Library Not Found",
        "install the NVIDIA driver; in a container use its runtime with the capability `utility`",
    ),
    ("Driver Not Loaded", "load the driver; `nvidia-smi` says why it is not"),
    ("Insufficient Permissions", "let this user read and write /dev/nvidiactl and /dev/nvidia*"),
    ("version mismatch", "the driver was updated: reboot, or load its modules again"),
    ("Not Supported", "no counter before Volta; give a power recording or another meter"),
    ("lost", "reset the board, or look for Xid messages in the kernel's log"),
)
SENDERS = frozenset({"admin", "ingest"})
OTHERWISE = "see whether `nvidia-smi -q -d POWER` answers"


@dataclass(frozen=True, slots=True)
class HostFinding:
    """One thing that collecting needs: whether it is there, what was seen, what to do."""

    what: str
    state: State
    said: str
    do: str = ""


def nvml_finding(what: str, problem: str) -> HostFinding:
    """A board or library that gives nothing, with what helps."""
    helps = (do for words, do in NVML_ADVICE if words.lower() in problem.lower())
    return HostFinding(what, "missing", problem, next(helps, OTHERWISE))


def find_lacking(settings: CollectSettings) -> tuple[HostFinding, ...]:
    """Spool and destination: whether this user can write the one and reach the other, and whether
    the ledger takes events of its key."""
    return (_spool(settings), *_destinations(settings))


def as_table(rows: Sequence[HostFinding]) -> str:
    """The rows under each other, each with what to do under it."""
    width = max((len(row.what) for row in rows), default=0)
    lines = []
    for row in rows:
        lines.append(f"{row.what:{width}}  {row.state:8}  {row.said}")
        if row.do:
            lines.append(f"{'':{width}}  {'':8}  -> {row.do}")
    return "\n".join(lines)


def _spool(settings: CollectSettings) -> HostFinding:
    folder = settings.spool_dir
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        name = Path(there).name or "/"
        do = f"let this user (uid {os.geteuid()}) write there, or set spool_dir"
        return HostFinding("spool", "trouble", f"{there}: {name} cannot be written", do)
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize
    said = f"{folder}: {free // 2**20:,} MiB free"
    if free < settings.spool_bytes:
        wanted = f"free {settings.spool_bytes // 2**20:,} MiB, or lower spool_bytes"
        return HostFinding("spool", "trouble", said, wanted)
    return HostFinding("spool", "ok", said)


def _destinations(settings: CollectSettings) -> Iterator[HostFinding]:
    if settings.kafka is None and settings.http is None:
        do = "set collect.http (url, api_key) or collect.kafka (bootstrap)"
        yield HostFinding("destination", "missing", "none is named", do)
    if settings.http is not None:
        url = urlsplit(settings.http.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        ledger = _reached("ledger", url.hostname or "", port)
        yield ledger
        if ledger.state == "ok":
            yield _key(settings.http, settings.source)
    for address in settings.kafka.bootstrap if settings.kafka is not None else ():
        host, _, port_text = address.rpartition(":")
        yield _reached("broker", host, int(port_text) if port_text.isdigit() else 0)


def _reached(what: str, host: str, port: int) -> HostFinding:
    where = f"{host}:{port}"
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError as error:
        do = "start it, open the way to it, or correct the address"
        return HostFinding(what, "trouble", f"{where}: {error}", do)
    return HostFinding(what, "ok", f"{where} takes connections")


def _key(http: HttpSettings, source: str) -> HostFinding:
    try:
        with closing(HttpPublisher(http)) as publisher:
            said = publisher.whose_key()
    except CollectError as error:
        do = "copy the key again, or ask for one: tokenledger keys create --role ingest"
        return HostFinding("key", "trouble", str(error), do)
    sources = said.get("sources")
    named = sources if isinstance(sources, list) else []
    whose = f"{said.get('key_id')} of role {said['role']}"
    if said["role"] not in SENDERS:
        return HostFinding("key", "trouble", whose, "ask for a key of role ingest")
    if said["role"] == "ingest" and source not in named:
        do = f"ask for a key for {source}, or set source to one that it is for"
        return HostFinding("key", "trouble", f"{whose} for {', '.join(map(str, named))}", do)
    return HostFinding("key", "ok", f"{whose} may send as {source}")
