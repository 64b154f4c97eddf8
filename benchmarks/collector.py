"""What a collector costs its host, and what it books under faults, side by side with its peers.

All run at the same time on the same stub of eight boards: what disturbs one disturbs the others.
Shares are of processor time, so that a busy machine changes them little.
"""

import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.broker import shared_broker
from benchmarks.collector_host import (
    BOARDS,
    POWER_MW,
    Cost,
    Sink,
    build_stub,
    cost_of,
    environment,
    page,
    serving,
)
from benchmarks.harness import HERE, Figure, say
from benchmarks.scale import SCALE
from ledger.domain.energy.counter_course import EnergyReading
from ledger.domain.energy.meter import energy_between, findings, spans
from ledger.wire.limits import ENERGY
from ledger.wire.rfc3339 import parse_rfc3339
from tests.support.kafka import create_topic

WARM_S, SECONDS = 30, 90 * SCALE
RESET_S, LOST_S, BACK_S, FAULTS_S = 20.0, 30.0, 45.0, 90.0
PEERS = ("zeus", "codecarbon")
PEER_PACKAGES = ("zeus", "codecarbon")
TOML = """[collect]
source = "/hosts/bench"
producer = "{name}"
spool_dir = "{folder}"
interval_s = {interval_s}
nvml = "on"
[[collect.targets]]
engine = "vllm"
url = "{url}"
instance = "bench:8000"
"""


@dataclass(frozen=True, slots=True)
class Way:
    """How one of our collectors is set, and what it may cost."""

    interval_s: float
    kafka: bool
    cpu_percent: float
    rss_mib: float | None = None
    disk_gib: float | None = None


WAYS: Mapping[str, Way] = {
    "1 Hz to Kafka": Way(1, True, cpu_percent=0.20, rss_mib=38, disk_gib=0.2),
    "1 Hz to HTTP": Way(1, False, cpu_percent=0.20, rss_mib=28, disk_gib=0.2),
    "10 Hz to HTTP": Way(0.1, False, cpu_percent=0.8),
}


def run() -> list[Figure]:
    """Costs of a minute and a half, then faults with a known truth."""
    with (
        tempfile.TemporaryDirectory(prefix="tl-collector-") as text,
        serving_all(Path(text)) as host,
    ):
        return [*_costs(host), *_faults(host)]


@dataclass(frozen=True, slots=True)
class _Host:
    folder: Path
    stub: Path
    url: str
    sink: Sink
    peers: Path


@contextmanager
def serving_all(folder: Path) -> Iterator[_Host]:
    """The stub, the servers and the peers' own virtual environment."""
    sink = Sink()
    with serving(sink) as url:
        yield _Host(folder, build_stub(folder), url, sink, _peers())


def _peers() -> Path:
    """The Python that has the peers, made once."""
    folder = HERE.parent / ".cache" / "collector-peers"
    python = folder / "bin" / "python"
    if not (folder / ".made").exists():
        say(f"installing {', '.join(PEER_PACKAGES)} into {folder}")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PEER_PACKAGES], check=True)
        (folder / ".made").touch()
    return python


def _costs(host: _Host) -> list[Figure]:
    with ExitStack() as stack:
        started = {name: stack.enter_context(_ours(host, name)) for name in WAYS}
        started |= {name: stack.enter_context(_peer(host, name)) for name in PEERS}
        say(f"{len(started)} processes warm up, then {SECONDS:.0f} s")
        with ThreadPoolExecutor(len(started)) as pool:
            found = {
                name: pool.submit(cost_of, process.pid, warm_s=WARM_S, seconds=SECONDS)
                for name, process in started.items()
            }
            costs = {name: future.result() for name, future in found.items()}
    return [figure for name, cost in costs.items() for figure in _figures(name, cost, costs)]


def _figures(name: str, cost: Cost, costs: Mapping[str, Cost]) -> list[Figure]:
    way = WAYS.get(name)
    details = {
        "boards": BOARDS,
        "page of the server": f"{len(page(10**6)):,} bytes, scraped once a second",
        "seconds": f"{SECONDS:.0f} after {WARM_S} of warming up",
        **{f"{peer} beside it": _said(costs[peer]) for peer in PEERS},
    }
    reaches = {
        "CPU": (cost.cpu_percent, "% of a core", way.cpu_percent if way else None),
        "memory": (cost.rss_mib, "MiB", way.rss_mib if way else None),
        "disk": (cost.disk_gib_a_day, "GiB a day", way.disk_gib if way else None),
    }
    return [
        Figure(
            name=f"collector, {name}, {what}",
            median=value,
            unit=unit,
            runs=1,
            reach="" if reach is None else f"≤ {reach:g}",
            met=None if reach is None else value <= reach,
            details=details if what == "CPU" and way else {},
        )
        for what, (value, unit, reach) in reaches.items()
    ]


def _said(cost: Cost) -> str:
    return f"{cost.cpu_percent:.2f} % of a core, {cost.rss_mib:.0f} MiB"


def _faults(host: _Host) -> list[Figure]:
    """A reset and a lost board: what each books, beside what was used."""
    say(f"a reset and a lost board, {FAULTS_S:.0f} s")
    host.sink.bodies.clear()
    began = time.monotonic()
    faults = {"reset_s": RESET_S, "lost_s": LOST_S, "back_s": BACK_S}
    with ExitStack() as stack:
        stack.enter_context(_ours(host, "1 Hz to HTTP", name="faults", start=began, **faults))
        peers = {
            name: stack.enter_context(_peer(host, name, start=began, **faults)) for name in PEERS
        }
        time.sleep(FAULTS_S)
        read_s = time.monotonic() - began
    truth_j = BOARDS * POWER_MW / 1_000 * read_s
    booked = {"ours": _booked(host.sink), **{name: _joules(one) for name, one in peers.items()}}
    return [
        Figure(
            name=f"collector, reset and lost board, booked by {name}",
            median=joules,
            unit="J",
            runs=1,
            compared_against="what was used",
            ratio=joules / truth_j,
            reach="≤ what was used" if name == "ours" else "",
            met=joules <= truth_j if name == "ours" else None,
            details={"reset at": f"{RESET_S} s", "lost": f"{LOST_S} to {BACK_S} s", "said": said},
        )
        for name, (joules, said) in booked.items()
    ]


def _booked(sink: Sink) -> tuple[float, str]:
    """What the ledger books of the readings that came, board by board."""
    boards: dict[str, list[EnergyReading]] = {}
    for body in sink.bodies:
        for event in map(json.loads, body.splitlines()):
            if event["type"] == ENERGY:
                reading = _reading(event["data"], event["time"])
                boards.setdefault(event["data"]["gpu_uuid"], []).append(reading)
    total, said = 0, set[str]()
    for readings in boards.values():
        found = spans(sorted(readings))
        edges = [readings[0].sampled_at - timedelta(1), readings[0].sampled_at + timedelta(1)]
        (energy,) = energy_between(found, edges)
        total += energy.total_mj
        said.update(findings(found))
    return total / 1_000, ", ".join(sorted(said)) or "nothing"


def _reading(body: Mapping[str, object], at: str) -> EnergyReading:
    return EnergyReading(
        parse_rfc3339(at),
        str(body["epoch"]),
        int(str(body["energy_mj"])),
        power_mw=_whole(body.get("power_mw")),
        source="/hosts/bench",
        boot_id=_text(body.get("boot_id")),
        driver_load=_text(body.get("driver_load")),
        monotonic_us=_whole(body.get("monotonic_us")),
    )


def _whole(value: object) -> int | None:
    return None if value is None else int(str(value))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _joules(peer: "subprocess.Popen[bytes]") -> tuple[float, str]:
    """What a peer says it booked; why it says nothing where it does not."""
    said = peer.stdout.read().decode() if peer.stdout else ""
    found = [line for line in said.splitlines() if line.startswith("joules ")]
    return (float(found[-1].split()[1]), "nothing") if found else (0.0, said[-300:])


@contextmanager
def _ours(
    host: _Host, way: str, name: str = "", start: float | None = None, **faults: float
) -> "Iterator[subprocess.Popen[bytes]]":
    """`tokenledger collect` as it is installed."""
    told = WAYS[way]
    name = name or way.replace(" ", "-")
    path = host.folder / f"{name}.toml"
    spool = host.folder / name
    text = TOML.format(name=name, folder=spool, interval_s=told.interval_s, url=host.url)
    path.write_text(text + _destination(host, told))
    command = [str(Path(sys.executable).with_name("tokenledger")), "collect", "--config", str(path)]
    seen = environment(host.stub, start=start or time.monotonic(), **faults)
    with _running(command, seen) as made:
        yield made


def _destination(host: _Host, way: Way) -> str:
    if not way.kafka:
        return f'[collect.http]\nurl = "{host.url}"\napi_key = "bench-key"\n'
    topic = f"bench-{uuid.uuid4().hex}"
    create_topic(shared_broker(), topic, 1)
    return f'[collect.kafka]\nbootstrap = ["{shared_broker()}"]\ntopic = "{topic}"\n'


@contextmanager
def _peer(
    host: _Host, name: str, start: float | None = None, **faults: float
) -> "Iterator[subprocess.Popen[bytes]]":
    """A peer's process, whose words are kept."""
    command = [str(host.peers), str(HERE / "collector_peers.py"), name]
    told = environment(host.stub, start=start or time.monotonic(), **faults)
    with _running(command, told) as made:
        yield made


@contextmanager
def _running(command: list[str], told: Mapping[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(
        command, env=dict(told), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
        assert process.poll() is None, f"{command[1:]} ended by itself"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
