"""A GPU host in small: an engine under load, and the collector that reads board and counters."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness import HERE, say
from benchmarks.scale import SCALE
from collectors.clock import new_epoch
from collectors.spool import Spool
from ledger.wire.rfc3339 import format_rfc3339

ENVIRONMENT = HERE.parent / ".cache" / "gpu"
SOURCE, PRODUCER, INSTANCE, CUSTOMER = "/hosts/gpu", "gpu", "gpu:8000", "load"
GATEWAY = "/gateways/load"
# Nothing listens there: all that is read stays in the spool.
NOWHERE = "http://127.0.0.1:9"
Event = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of work: its kind, sequences at once, tokens, and from when to when."""

    name: str
    batch: int
    prompt_tokens: int
    output_tokens: int
    steps: int
    prefill_s: float
    decode_s: float
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine did: its phases, and usage events of its requests."""

    phases: Sequence[Phase]
    usage: Sequence[Event]


def python_with_torch() -> str:
    """This Python where it has torch, else one of an environment of its own that gets it."""
    if find_spec("torch"):
        return sys.executable
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".made").exists():
        say(f"installing torch into {ENVIRONMENT}")
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "torch"], check=True)
        (ENVIRONMENT / ".made").touch()
    return str(python)


def run_load(folder: Path, started: Callable[[], None]) -> tuple[Load, list[Event]]:
    """The timetable's load, and the events of the collector that ran beside it; `started` is called
    as the load begins."""
    port = _free_port()
    command = [python_with_torch(), "-m", "benchmarks.gpu_serving", str(port), str(SCALE)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    ) as engine:
        if not engine.stdin or not engine.stdout or engine.stdout.readline() != "ready\n":
            raise RuntimeError("the engine did not start: see its words above")
        with _collecting(folder, port):
            engine.stdin.write("\n")
            engine.stdin.flush()
            started()
            load = read_load(engine.stdout)
        engine.stdin.close()
    return load, list(read_spool(folder / "spool"))


def read_load(lines: Iterator[str]) -> Load:
    """Phases and requests as the engine prints them, until it says that all are told."""
    phases, usage = list[Phase](), list[Event]()
    for line in lines:
        said = json.loads(line)
        if "stretch" in said:
            phases.append(Phase(**said["stretch"]))
            say(f"{phases[-1].name}: {phases[-1].output_tokens} tokens written")
        elif "request" in said:
            usage.append(usage_event(said["request"]))
        else:
            break
    return Load(phases, usage)


def usage_event(request: Mapping[str, float]) -> Event:
    """A request served, as a gateway tells of it."""
    began_s, first_s, ended_s = (request[name] for name in ("began_s", "first_s", "ended_s"))
    return {
        "specversion": "1.0",
        "id": f"load-{request['number']}",
        "source": GATEWAY,
        "type": "inference.usage.v1",
        "time": _time(ended_s),
        "data": {
            "customer_id": CUSTOMER,
            "served_model": "random-8b",
            "engine": {"name": "vllm", "instance": INSTANCE},
            "started_at": _time(request["came_s"]),
            "queue_ms": round((began_s - request["came_s"]) * 1_000),
            "first_token_at": _time(first_s),
            "ended_at": _time(ended_s),
            "status": "ok",
            "usage": {
                "input": {"uncached": request["prompt"], "cache_read": 0},
                "output": {"visible": request["output"]},
                "context_tokens": request["prompt"],
            },
        },
    }


def read_spool(folder: Path) -> Iterator[Event]:
    """Events that a collector kept there, in order."""
    epoch = new_epoch()
    with Spool(folder, source=SOURCE, producer=PRODUCER, new_epoch=epoch) as spool:
        for batch in spool.waiting(1_000_000):
            for line in batch.body.splitlines():
                yield json.loads(line)


@contextmanager
def _collecting(folder: Path, port: int) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "collector.toml"
    settings.write_text(
        f"""[collect]
source = "{SOURCE}"
producer = "{PRODUCER}"
spool_dir = "{folder / "spool"}"
interval_s = "0.2"
batch_s = "5"
nvml = "on"
drain_s = "0"

[[collect.targets]]
engine = "vllm"
url = "http://127.0.0.1:{port}"
instance = "{INSTANCE}"

[collect.http]
url = "{NOWHERE}"
api_key = "tlk_nowhere"
"""
    )
    words = "from ledger.start import main; main()"
    command = [sys.executable, "-c", words, "collect", "--config", str(settings)]
    with (folder / "collector.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=HERE.parent, env=_named())
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _named() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "TOKENLEDGER" not in name}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _time(seconds: float) -> str:
    return format_rfc3339(datetime.fromtimestamp(seconds, UTC))
