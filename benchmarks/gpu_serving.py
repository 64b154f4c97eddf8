"""An engine that serves a timetable of requests with a decoder, as a GPU host's server would.

Run by a Python that has torch: `-m benchmarks.gpu_serving PORT SCALE`. Its counters answer on
/metrics under vLLM's names; a line of JSON tells of each stretch and then of each request.
"""

import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from benchmarks.gpu_decoder import Decoder
from ledger import clock

MODEL = "random-8b"
Range = tuple[int, int]


@dataclass(frozen=True)
class Stretch:
    """So many seconds in which `at_once` requests are kept going, of prompts and answers that long;
    with a rate they come by chance instead, so many a second."""

    name: str
    seconds: float
    at_once: int = 0
    prompt: Range = (0, 0)
    output: Range = (0, 0)
    per_s: float = 0.0


WARMING = Stretch("warm", 3, 12, (100, 3_000), (20, 60))
TIMETABLE = (
    Stretch("prefill", 18, 2, (512, 2_000), (1, 4)),
    Stretch("rest", 18),
    Stretch("decode-1", 15, 1, (32, 64), (300, 440)),
    Stretch("decode-8", 15, 8, (32, 64), (300, 440)),
    Stretch("rest", 6),
    Stretch("decode-64", 20, 64, (32, 64), (300, 440)),
    Stretch("context-20", 24, 20, (5_000, 7_000), (300, 900)),
    Stretch("chat", 24, 0, (100, 1_200), (50, 700), 5.0),
    Stretch("rest", 8),
    Stretch("prompts", 18, 0, (1_000, 7_000), (1, 60), 2.5),
    Stretch("context-4", 18, 4, (4_000, 7_000), (200, 700)),
    Stretch("writer", 18, 24, (32, 128), (700, 1_200)),
    Stretch("mixed", 36, 0, (50, 4_000), (20, 700), 4.0),
    Stretch("rest", 6),
)


@dataclass
class Request:
    """One request: its tokens, and when it came, began, had a first word and ended (wall clock)."""

    number: int
    prompt: int
    output: int
    came_s: float
    began_s: float = 0.0
    first_s: float = 0.0
    ended_s: float = 0.0
    written: int = 0


@dataclass
class Counted:
    """What the engine has done since it started; seconds by kind of step."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    steps: int = 0
    running: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    finished: int = 0

    def page(self, since_s: float) -> str:
        """As vLLM prints them."""
        of = f'{{engine="0",model_name="{MODEL}"}}'
        ended = of.replace("}", ',finished_reason="length"}')
        values = {
            "vllm:prompt_tokens_total": (of, self.prompt_tokens),
            "vllm:generation_tokens_total": (of, self.generation_tokens),
            "vllm:iteration_tokens_total_count": (of, self.steps),
            "vllm:request_prefill_time_seconds_sum": (of, self.prefill_seconds),
            "vllm:request_decode_time_seconds_sum": (of, self.decode_seconds),
            "vllm:request_success_total": (ended, self.finished),
            "vllm:num_requests_running": (of, self.running),
            "process_start_time_seconds": ("", since_s),
        }
        return "".join(f"{name}{labels} {value}\n" for name, (labels, value) in values.items())


@dataclass
class Engine:
    """A decoder that takes a prompt or writes a word of every sequence in each step."""

    decoder: Decoder
    counted: Counted = field(default_factory=Counted)
    waiting: list[Request] = field(default_factory=list)
    running: list[Request] = field(default_factory=list)
    served: list[Request] = field(default_factory=list)

    @property
    def active(self) -> int:
        """Requests that are served or wait."""
        return len(self.waiting) + len(self.running)

    def step(self) -> None:
        """One step, or a moment of rest."""
        began = time.monotonic()
        if self.waiting and not self.decoder.is_full:
            self._read(self.waiting.pop(0))
            self.counted.prefill_seconds += time.monotonic() - began
        elif self.running:
            self._write()
            self.counted.decode_seconds += time.monotonic() - began
        else:
            time.sleep(0.002)
        self.counted.running = len(self.running)

    def _read(self, one: Request) -> None:
        one.began_s = clock.now().timestamp()
        self.decoder.prefill(one.prompt)
        self.running.append(one)
        one.first_s, one.written = clock.now().timestamp(), 1
        self.counted.prompt_tokens += one.prompt
        self.counted.generation_tokens += 1
        self.counted.steps += 1
        self._end(one.first_s)

    def _write(self) -> None:
        self.decoder.decode()
        for one in self.running:
            one.written += 1
        self.counted.steps += 1
        self.counted.generation_tokens += len(self.running)
        self._end(clock.now().timestamp())

    def _end(self, now_s: float) -> None:
        """Requests that have their answer leave; the last one takes the place of each."""
        for place in reversed(range(len(self.running))):
            one = self.running[place]
            if one.written >= one.output:
                one.ended_s = now_s
                self.decoder.drop(place)
                self.running[place] = self.running[-1]
                self.running.pop()
                self.served.append(one)
                self.counted.finished += 1


def arrivals(stretch: Stretch, chance: random.Random) -> Iterator[float]:
    """Moments of a stretch at which somebody comes by chance, in seconds of it."""
    at = 0.0
    while stretch.per_s and (at := at + chance.expovariate(stretch.per_s)) < stretch.seconds:
        yield at


def serve(engine: Engine, stretch: Stretch, chance: random.Random) -> dict[str, float | int | str]:
    """A stretch from its start until its last request has its answer; what was done in it."""
    before, began = Counted(**asdict(engine.counted)), time.monotonic()
    coming = list(arrivals(stretch, chance))
    while (now := time.monotonic() - began) < stretch.seconds or engine.active:
        if now < stretch.seconds:
            due = sum(1 for at in coming if at <= now)
            coming = coming[due:]
            wanted = due if stretch.per_s else stretch.at_once - engine.active
            for _ in range(wanted):
                engine.waiting.append(_ask(engine, stretch, chance))
        engine.step()
    after = engine.counted
    return {
        "name": stretch.name,
        "batch": stretch.at_once,
        "prompt_tokens": after.prompt_tokens - before.prompt_tokens,
        "output_tokens": after.generation_tokens - before.generation_tokens,
        "steps": after.steps - before.steps,
        "prefill_s": after.prefill_seconds - before.prefill_seconds,
        "decode_s": after.decode_seconds - before.decode_seconds,
        "began_s": began,
        "ended_s": time.monotonic(),
    }


def _ask(engine: Engine, stretch: Stretch, chance: random.Random) -> Request:
    number = len(engine.served) + engine.active
    return Request(
        number,
        chance.randint(*stretch.prompt),
        chance.randint(*stretch.output),
        clock.now().timestamp(),
    )


def answer(engine: Engine, port: int) -> ThreadingHTTPServer:
    """Its counters at /metrics, from a thread."""
    since_s = clock.now().timestamp()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = engine.counted.page(since_s).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: a scrape a second is no news."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def run(decoder: Decoder, port: int, scale: float) -> None:
    """Serve the timetable, at a scale of its time, after a little work that warms up."""
    engine = Engine(decoder)
    chance = random.Random(7)
    serve(engine, WARMING, chance)
    engine.served, engine.counted = [], Counted()
    answer(engine, port)
    print("ready", flush=True)
    sys.stdin.readline()
    for planned in TIMETABLE:
        stretch = replace(planned, seconds=planned.seconds * scale)
        print(json.dumps({"stretch": serve(engine, stretch, chance)}), flush=True)
    for one in engine.served:
        print(json.dumps({"request": asdict(one)}), flush=True)
    print("{}", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    with torch.inference_mode():
        run(Decoder("cuda"), int(sys.argv[1]), float(sys.argv[2]))
