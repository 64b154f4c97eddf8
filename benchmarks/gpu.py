"""`make gpu`: what this machine's GPU says of its energy, as recordings that replay reads.

How often the counter moves, how long a call takes, how far the counter and integrated power agree,
and what an engine's prefill and decode take at several batch sizes, with every event that its
collector and its gateway would send. Needs an NVIDIA GPU.
"""

import csv
import gzip
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import pynvml

from benchmarks.gpu_host import Load, Phase, run_load
from benchmarks.harness import HERE, say
from benchmarks.machine import machine
from ledger import clock
from ledger.wire.rfc3339 import format_rfc3339

FOLDER = HERE.parent / "tests" / "golden" / "gpu"
PERIOD_S, AGREEMENT_S, CALLS, SAMPLE_S = 10.0, 10.0, 1_000, 0.05
EPOCH = "recorded"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the board: seconds of the monotonic clock, mJ of its counter, mW it draws."""

    at_s: float
    energy_mj: int
    power_mw: int


class Gpu:
    """One board, by the library that everyone reads it with."""

    def __init__(self, index: int = 0) -> None:
        pynvml.nvmlInit()
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        self.uuid = str(pynvml.nvmlDeviceGetUUID(self._handle))
        self.name = str(pynvml.nvmlDeviceGetName(self._handle))
        self.driver = str(pynvml.nvmlSystemGetDriverVersion())

    def sample(self) -> Sample:
        """Counter and power now."""
        energy_mj = int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        power_mw = int(pynvml.nvmlDeviceGetPowerUsage(self._handle))
        return Sample(time.monotonic(), energy_mj, power_mw)

    def calls(self) -> dict[str, Callable[[], object]]:
        """The calls that a collector makes in each round."""
        fields = [pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, pynvml.NVML_FI_DEV_POWER_INSTANT]
        return {
            "counter": lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle),
            "power": lambda: pynvml.nvmlDeviceGetPowerUsage(self._handle),
            "fields": lambda: pynvml.nvmlDeviceGetFieldValues(self._handle, fields),
        }


def update_periods(gpu: Gpu, seconds: float) -> dict[str, float]:
    """Milliseconds between two moves of the counter, read as fast as it answers."""
    moves: list[float] = []
    before, until = gpu.sample(), time.monotonic() + seconds
    while (now := gpu.sample()).at_s < until:
        if now.energy_mj != before.energy_mj:
            moves.append(now.at_s)
        before = now
    return spread([(b - a) * 1_000 for a, b in pairwise(moves)])


def latencies(gpu: Gpu, count: int) -> dict[str, dict[str, float]]:
    """Microseconds that each call takes."""
    return {
        name: spread([_took_us(call) for _ in range(count)]) for name, call in gpu.calls().items()
    }


def agreement(samples: Sequence[Sample]) -> dict[str, float]:
    """The counter's joules beside those of its power by trapezoids, over the same samples."""
    counted = (samples[-1].energy_mj - samples[0].energy_mj) / 1_000
    integrated = sum(
        (a.power_mw + b.power_mw) / 2_000 * (b.at_s - a.at_s) for a, b in pairwise(samples)
    )
    ratio = counted / integrated if integrated else 0.0
    return {"counter_j": counted, "power_integral_j": integrated, "ratio": ratio}


def energy_of(phase: Phase, samples: Sequence[Sample]) -> dict[str, float | int | str]:
    """Joules of a phase by the counter, straight between two samples, and joules a token."""
    joules = (_counter_at(phase.ended_s, samples) - _counter_at(phase.began_s, samples)) / 1_000
    seconds = phase.ended_s - phase.began_s
    tokens = phase.prompt_tokens + phase.output_tokens
    return {
        **{name: value for name, value in asdict(phase).items() if not name.endswith("_s")},
        "seconds": round(seconds, 3),
        "joules": round(joules, 3),
        "watts": round(joules / seconds, 1),
        "joules_per_token": round(joules / tokens, 6) if tokens else 0.0,
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """How many, the middle, and the 1st and 99th in a hundred."""
    if len(values) < 2:
        return {"count": len(values)}
    cuts = statistics.quantiles(values, n=100)
    found = {"p1": cuts[0], "median": statistics.median(values), "p99": cuts[-1]}
    return {"count": len(values)} | {name: round(value, 3) for name, value in found.items()}


@contextmanager
def recording(gpu: Gpu, every_s: float = SAMPLE_S) -> Iterator[list[Sample]]:
    """Samples of the board, taken by a thread until the block ends."""
    samples, ended = [gpu.sample()], threading.Event()

    def take() -> None:
        while not ended.wait(every_s):
            samples.append(gpu.sample())

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
        samples.append(gpu.sample())


def write_recording(path: Path, gpu_uuid: str, samples: Sequence[Sample]) -> None:
    """Samples as `tokenledger collect --replay` reads them."""
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["gpu_uuid", "epoch", "offset_s", "energy_mj", "power_mw"])
        for one in samples:
            offset_s = f"{one.at_s - samples[0].at_s:.6f}"
            rows.writerow([gpu_uuid, EPOCH, offset_s, one.energy_mj, one.power_mw])


def write_events(path: Path, events: Sequence[Mapping[str, object]]) -> None:
    """Events as they are sent, a line each."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


Work = Callable[[Path, Callable[[], None]], tuple[Load, Sequence[Mapping[str, object]]]]


def measure(gpu: Gpu, work: Work, folder: Path = FOLDER) -> Path:
    """Everything, written into `folder`; `work` loads the board, and says in which phases and what
    its collector read meanwhile."""
    name = "-".join(gpu.name.lower().split())
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, object] = {
        "gpu": gpu.name,
        "driver": gpu.driver,
        "machine": machine(),
        "measured": format_rfc3339(clock.now()),
        **at_rest(gpu),
    }
    say("loaded: prompts read and answers written")
    loaded: list[dict[str, float]] = []
    with recording(gpu) as samples, tempfile.TemporaryDirectory() as scratch:
        probe = threading.Thread(target=lambda: loaded.append(update_periods(gpu, PERIOD_S)))
        load, collected = work(Path(scratch), probe.start)
        probe.join()
    found["counter_update_ms_loaded"] = loaded[0]
    found["counter_against_power_loaded"] = agreement(samples)
    found["phases"] = [energy_of(phase, samples) for phase in load.phases]
    found["marks"] = [asdict(phase) for phase in load.phases]
    found["began_s"] = samples[0].at_s
    write_recording(folder / f"{name}.csv.gz", gpu.uuid, samples)
    write_events(folder / f"{name}.ndjson.gz", [*collected, *load.usage])
    path = folder / f"{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def at_rest(gpu: Gpu) -> dict[str, object]:
    """How often the counter of a board moves that does nothing, and how long calls take."""
    say("idle: how often the counter moves, how long calls take")
    found: dict[str, object] = {"counter_update_ms_idle": update_periods(gpu, PERIOD_S)}
    found["call_us"] = latencies(gpu, CALLS)
    with recording(gpu) as samples:
        time.sleep(AGREEMENT_S)
    return found | {"counter_against_power_idle": agreement(samples)}


def _counter_at(at_s: float, samples: Sequence[Sample]) -> float:
    for a, b in pairwise(samples):
        if a.at_s <= at_s <= b.at_s:
            share = (at_s - a.at_s) / (b.at_s - a.at_s)
            return a.energy_mj + share * (b.energy_mj - a.energy_mj)
    raise ValueError(f"no samples around {at_s}: recorded {samples[0].at_s} to {samples[-1].at_s}")


def _took_us(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1_000


def main() -> int:
    """Measure the first GPU; 1 where there is none."""
    try:
        gpu = Gpu()
    except pynvml.NVMLError as error:
        sys.stderr.write(f"error: no NVIDIA GPU: {error}; run this where nvidia-smi lists one.\n")
        return 1
    print(measure(gpu, run_load))
    return 0


if __name__ == "__main__":
    sys.exit(main())
