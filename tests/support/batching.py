"""An engine that serves many sequences a step, and what each request truly takes of its energy.

A step costs a fixed energy, which the sequences in it share, and something for every token: of the
prompt, of what a cache held, of the answer, and of the context an answer's token looks back on.
Between steps an engine rests at its warm idle power. Nothing here is the product's arithmetic.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, floor

import numpy as np


@dataclass(frozen=True)
class Physics:
    """Joules and seconds of an engine: a 70B model on four boards, after the batch law."""

    step_j: float = 27.43
    output_j: float = 0.3596
    uncached_j: float = 0.06
    cached_j: float = 0.0004
    context_j: float = 2e-5
    idle_w: float = 440.0
    step_s: float = 0.0108
    sequence_s: float = 0.0001
    uncached_s: float = 0.00003
    chunk: int = 2_048
    most: int = 256
    # Whether a step may read a prompt while others write; else those wait for it.
    mixed: bool = True


@dataclass(frozen=True)
class Request:
    """What a customer sends: when it reaches the engine, after waiting `queued_s` before it."""

    customer: str
    at: float
    uncached: int
    cached: int
    output: int
    queued_s: float = 0.0


@dataclass
class Served:
    """A request and its moments at the engine in seconds; `energy_j` is what it truly took."""

    request: Request
    started: float = 0.0
    first_token: float = 0.0
    ended: float = 0.0
    energy_j: float = 0.0


@dataclass
class Run:
    """What an engine did: requests served, when it stepped, and its meter over time."""

    served: list[Served] = field(default_factory=list)
    busy_s: float = 0.0
    idle_j: float = 0.0
    times: list[float] = field(default_factory=lambda: [0.0])
    joules: list[float] = field(default_factory=lambda: [0.0])
    steps: list[int] = field(default_factory=lambda: [0])
    # Seconds of steps that read, that wrote, and that did both.
    phases: dict[str, list[float]] = field(
        default_factory=lambda: {name: [0.0] for name in ("extend", "decode", "mixed")}
    )

    def spend(self, until: float, joules: float, steps: int = 0, phase: str = "") -> None:
        """So much energy and so many steps, evenly until then."""
        for name, seconds in self.phases.items():
            seconds.append(seconds[-1] + (until - self.times[-1] if name == phase else 0))
        self.times.append(until)
        self.joules.append(self.joules[-1] + joules)
        self.steps.append(self.steps[-1] + steps)

    def timed(self, phase: str, seconds: Iterable[int]) -> list[float]:
        """What its timer of a phase shows at these seconds."""
        return [float(one) for one in np.interp(list(seconds), self.times, self.phases[phase])]

    def counted(self, seconds: Iterable[int]) -> list[int]:
        """The engine's own count of its steps at these seconds."""
        return [int(one) for one in np.interp(list(seconds), self.times, self.steps)]

    def readings(self, seconds: Iterable[int]) -> list[int]:
        """The meter in mJ at these seconds; it moves ten times a second."""
        at = np.floor(np.array(list(seconds)) * 10) / 10
        found = np.interp(at, self.times, self.joules) * 1_000
        return [int(one) for one in found]

    def of_customers(self) -> dict[str, float]:
        """True energy by customer."""
        found: dict[str, float] = {}
        for one in self.served:
            name = one.request.customer
            found[name] = found.get(name, 0.0) + one.energy_j
        return found


@dataclass
class _Engine:
    physics: Physics
    run: Run = field(default_factory=Run)
    now: float = 0.0
    step: int = 0
    # What a sequence in every step so far would have taken of the steps' fixed energy.
    shared_j: float = 0.0
    context: float = 0.0
    reading: list[tuple[Served, int]] = field(default_factory=list)
    ends: list[tuple[int, int, Served, float]] = field(default_factory=list)

    def rest(self, until: float) -> None:
        joules = self.physics.idle_w * (until - self.now)
        self.run.idle_j += joules
        self.run.spend(until, joules)
        self.now = until

    def decode(self, steps: int) -> None:
        """Steps in which nobody reads a prompt."""
        law, batch = self.physics, len(self.ends)
        looked = self.context * steps + batch * steps * (steps + 1) / 2
        joules = steps * (law.step_j + law.output_j * batch) + law.context_j * looked
        self.shared_j += steps * law.step_j / batch
        seconds = steps * (law.step_s + law.sequence_s * batch)
        self._pass(steps, batch, seconds, joules, "decode")

    def read(self) -> None:
        """A step in which the next prompt is read on while the others write, or wait."""
        law = self.physics
        batch = len(self.ends) if law.mixed else 0
        one, left = self.reading[0]
        if left == one.request.uncached:
            one.started = self.now
        tokens = min(left, law.chunk)
        share = law.step_j / (batch + 1)
        one.energy_j += share + law.uncached_j * tokens
        cached = law.cached_j * one.request.cached if left == one.request.uncached else 0.0
        one.energy_j += cached
        joules = law.step_j + law.uncached_j * tokens + cached
        joules += law.output_j * batch
        joules += law.context_j * (self.context + batch) if batch else 0
        self.shared_j += share if batch else 0
        seconds = law.step_s + law.sequence_s * batch + law.uncached_s * tokens
        done = left == tokens
        if done:
            joules += law.output_j + law.context_j * self._prompt(one)
        self._pass(1, batch, seconds, joules, "mixed" if batch else "extend")
        self.reading[0] = (one, left - tokens)
        if done:
            self.reading.pop(0)
            self._begin(one)

    def _prompt(self, one: Served) -> int:
        return one.request.uncached + one.request.cached + 1

    def _begin(self, one: Served) -> None:
        one.first_token = self.now
        one.energy_j += self.physics.output_j + self.physics.context_j * self._prompt(one)
        if one.request.output == 1:
            self._finish(one)
            return
        self.context += self._prompt(one)
        number = len(self.run.served) + len(self.ends) + self.step * 1_000
        heappush(self.ends, (self.step + one.request.output - 1, number, one, self.shared_j))

    def _pass(self, steps: int, batch: int, seconds: float, joules: float, phase: str) -> None:
        # Who waits is no step further on.
        self.step += steps if batch else 0
        self.now += seconds
        self.run.busy_s += seconds
        self.run.spend(self.now, joules, steps, phase)
        self.context += steps * batch
        while self.ends and self.ends[0][0] <= self.step:
            _, _, one, entered = heappop(self.ends)
            written = one.request.output - 1
            prompt = self._prompt(one)
            looked = written * prompt + written * (written + 1) / 2
            one.energy_j += self.shared_j - entered + self.physics.output_j * written
            one.energy_j += self.physics.context_j * looked
            self.context -= prompt + written
            self._finish(one)

    def _finish(self, one: Served) -> None:
        one.ended = self.now
        self.run.served.append(one)


def simulate(requests: Iterable[Request], seconds: float, physics: Physics = Physics()) -> Run:
    """Everything served within `seconds`; what comes later than it can be served is an error."""
    engine = _Engine(physics)
    waiting = sorted(requests, key=lambda one: one.at)
    at = 0
    while at < len(waiting) or engine.reading or engine.ends:
        room = physics.most - len(engine.reading) - len(engine.ends)
        while at < len(waiting) and waiting[at].at <= engine.now and room > 0:
            engine.reading.append((Served(waiting[at]), waiting[at].uncached))
            at, room = at + 1, room - 1
        if engine.reading:
            engine.read()
        elif engine.ends:
            engine.decode(_steps(engine, waiting[at].at if at < len(waiting) else None))
        else:
            engine.rest(waiting[at].at)
    assert engine.now <= seconds, "the engine could not keep up"
    engine.rest(seconds)
    return engine.run


def _steps(engine: _Engine, next_at: float | None) -> int:
    law, batch = engine.physics, len(engine.ends)
    steps = engine.ends[0][0] - engine.step
    if next_at is None:
        return steps
    step_s = law.step_s + law.sequence_s * batch
    return max(1, min(steps, ceil((next_at - engine.now) / step_s)))


def poisson(seed: int, since: float, until: float, per_s: float) -> list[float]:
    """Moments at which so many arrive a second, by chance."""
    chance = np.random.default_rng(seed)
    gaps = chance.exponential(1 / per_s, ceil((until - since) * per_s * 2) + 10)
    moments = since + np.cumsum(gaps)
    return [float(one) for one in moments if one < until]


def load(
    customer: str,
    moments: Sequence[float],
    tokens: tuple[int, int, int],
    *,
    seed: int = 1,
    spread: float = 0.5,
    queued_s: float = 0.0,
) -> list[Request]:
    """A request at each moment: uncached, cached and written tokens, give or take `spread`; every
    second one waited for `queued_s`."""
    chance = np.random.default_rng(seed)
    found = []
    for number, at in enumerate(moments):
        by = chance.uniform(1 - spread, 1 + spread, 3)
        uncached, cached, output = (max(floor(n * b), 0) for n, b in zip(tokens, by, strict=True))
        waited = queued_s if number % 2 else 0.0
        found.append(Request(customer, at, max(uncached, 1), cached, max(output, 1), waited))
    return found
