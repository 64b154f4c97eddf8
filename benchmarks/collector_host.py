"""A host for collectors: eight boards of a stub library, a vLLM page, and who takes batches."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BOARDS, POWER_MW = 8, 350_000
MIB = 2**20
STUB = Path(__file__).parent / "nvml_bench.c"
HISTOGRAMS = {
    "request_prompt_tokens": 15,
    "request_generation_tokens": 15,
    "iteration_tokens_total": 14,
    "request_max_num_generation_tokens": 15,
    "request_params_n": 6,
    "request_params_max_tokens": 15,
    "request_prefill_kv_computed_tokens": 15,
    "time_to_first_token_seconds": 23,
    "inter_token_latency_seconds": 20,
    "request_time_per_output_token_seconds": 20,
    "e2e_request_latency_seconds": 22,
    "request_queue_time_seconds": 22,
    "request_inference_time_seconds": 22,
    "request_prefill_time_seconds": 22,
    "request_decode_time_seconds": 22,
}
COUNTERS = (
    "spec_decode_num_drafts",
    "spec_decode_num_draft_tokens",
    "spec_decode_num_accepted_tokens",
    "prefix_cache_queries",
    "prefix_cache_hits",
    "external_prefix_cache_queries",
    "external_prefix_cache_hits",
    "mm_cache_queries",
    "mm_cache_hits",
    "num_preemptions",
    "prompt_tokens",
    "prompt_tokens_cached",
    "generation_tokens",
)
PARTED = {
    "request_success": ("finished_reason", ("stop", "length", "abort", "error", "repetition")),
    "prompt_tokens_by_source": (
        "source",
        ("local_compute", "local_cache_hit", "external_kv_transfer"),
    ),
    "spec_decode_num_accepted_tokens_per_pos": ("position", ("0", "1", "2")),
}
MODEL = 'engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"'


def page(tokens: int) -> bytes:
    """What a vLLM server shows after so many tokens: the families of a real one, of its size."""
    lines = ["# HELP process_start_time_seconds Start time of the process since unix epoch."]
    lines += ["# TYPE process_start_time_seconds gauge", "process_start_time_seconds 1.786e+09"]
    for name in COUNTERS:
        lines += _family(name, "counter", [(f"{name}_total", "", tokens)])
    for name, (label, values) in PARTED.items():
        rows = [(f"{name}_total", f',{label}="{value}"', tokens) for value in values]
        lines += _family(name, "counter", rows)
    for name, buckets in HISTOGRAMS.items():
        rows = [(f"{name}_bucket", f',le="{2.0**n}"', tokens + n) for n in range(buckets)]
        rows += [(f"{name}_count", "", tokens), (f"{name}_sum", "", tokens * 7)]
        lines += _family(name, "histogram", rows)
    return ("\n".join(lines) + "\n").encode()


def _family(name: str, kind: str, rows: list[tuple[str, str, int]]) -> list[str]:
    about = f"# HELP vllm:{name} What the server says of {name.replace('_', ' ')} in a sentence."
    made = f"vllm:{name}_created{{{MODEL}}} 1.7860000015e+09"
    samples = [f"vllm:{full}{{{MODEL}{more}}} {float(value)}" for full, more, value in rows]
    return [about, f"# TYPE vllm:{name} {kind}", *samples, made]


@dataclass
class Sink:
    """Keeps the bodies that a collector posts; answers as a ledger does."""

    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def serving(sink: Sink) -> Iterator[str]:
    """One server for both sides: `/metrics` of an engine, and a ledger that takes all."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave together, so that nobody waits for an acknowledgement between them.
        wbufsize = -1

        def do_GET(self) -> None:
            self._answer(page(int(time.monotonic() * 1_000)), "text/plain; version=0.0.4")

        def do_POST(self) -> None:
            sink.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(b'{"items": []}', "application/json")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def _answer(self, body: bytes, media: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def build_stub(folder: Path) -> Path:
    """The stub library, compiled into this folder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("no C compiler: the boards of this benchmark are a C library")
    library = folder / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-Wall", "-O1", "-o", str(library)]
    subprocess.run([compiler, *flags, str(STUB)], check=True)
    # Some ask for this program before they ask the library.
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return folder


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took over a stretch: share of a core, resident bytes, bytes a day to disk."""

    cpu_percent: float
    rss_mib: float
    disk_gib_a_day: float


def cost_of(pid: int, *, warm_s: float, seconds: float) -> Cost:
    """Watch a process for so long after it has warmed up; processor time, not the clock's."""
    time.sleep(warm_s)
    cpu, written, began = _cpu_s(pid), _written(pid), time.monotonic()
    time.sleep(seconds)
    cpu, written = _cpu_s(pid) - cpu, _written(pid) - written
    took = time.monotonic() - began
    return Cost(cpu / took * 100, _rss(pid) / MIB, written / took * 86_400 / 2**30)


def _cpu_s(pid: int) -> float:
    """Seconds on a processor, of threads and children that have ended too."""
    ticks = 0
    for each in _family_of(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _written(pid: int) -> int:
    return sum(_number(f"/proc/{each}/io", "write_bytes:") for each in _family_of(pid))


def _rss(pid: int) -> int:
    return sum(_number(f"/proc/{each}/status", "VmRSS:") * 1024 for each in _family_of(pid))


def _number(path: str, name: str) -> int:
    lines = Path(path).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _family_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family_of(int(child)))]


def environment(stub: Path, **more: object) -> dict[str, str]:
    """Where the stub is found; counters begin at zero now unless told otherwise."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TOKENLEDGER_")}
    named = {f"BENCH_NVML_{name.upper()}": str(value) for name, value in more.items()}
    path = f"{stub}:{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "LD_LIBRARY_PATH": str(stub), **named}
