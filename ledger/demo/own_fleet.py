"""A fleet of one's own: four owned GPUs, three tiers, a 25-hour day, and the oddities of real life.

Made from a seed; nothing of it was measured. Spot prices are Energinet's day-ahead prices of zone
DK1 for 27 October 2024, the day the clocks went back (www.energidataservice.dk, CC BY 4.0).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.wire.limits import USAGE

ENTITY = "own-fleet"
SOURCE = "demo/gateway"
ENERGY_SOURCE = "demo/gpu-host-1"
PRODUCER = "gateway-1"
EPOCH = 1
START = datetime(2024, 10, 26, 22, tzinfo=UTC)
HOURS = 25
END = START + timedelta(hours=HOURS)
IDLE_HOUR = 5  # 02:00 UTC to 03:00 UTC counted from START is the fifth hour
READING_EVERY_S = 10
RESET_GPU = 2
RESET_AT_S = 14 * 3600 + 20 * 60
RESET_GAP_S = 30
BATCH_EVENTS = 500
UNKNOWN_CUSTOMER = "walk-in"

# EUR per MWh of each hour from local midnight; 02:00 occurs twice.
SPOT_EUR_PER_MWH = (
    *("92.220001", "84.000000", "82.230003", "80.430000", "79.410004", "78.790001"),
    *("85.139999", "89.209999", "88.050003", "84.339996", "66.480003", "54.720001"),
    *("42.500000", "39.990002", "40.000000", "64.330002", "100.930000", "117.800003"),
    *("148.300003", "145.710007", "130.470001", "118.110001", "111.389999", "109.959999"),
    "87.260002",
)
# g CO2e and ml of water of each kWh, by hour: more while little wind blows and the price is high.
GRID_PER_KWH = {
    "carbon_location": tuple(str(40 + round(float(price))) for price in SPOT_EUR_PER_MWH),
    "carbon_market": ("15",) * HOURS,
    "water": ("1200",) * HOURS,
}
# Attempts in each hour of the day; the fifth is the idle one.
LOAD = (
    *(700, 520, 420, 0, 0, 640, 900, 1250, 1500, 1700, 1850, 2000, 2100),
    *(2100, 2150, 2100, 2000, 1900, 1800, 1700, 1600, 1500, 1300, 1100, 900),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of traffic: who sends it, on which tier, to which model, and its share."""

    customer_id: str
    agent: str
    tier: str
    model: str
    instance: str
    share: int
    prompt: int
    output: int


CHAT = ("llama-3.1-70b", "vllm-chat-0")
BATCH = ("qwen3-32b", "vllm-batch-0")
LINES = (
    Line("fjord-bank", "", "real-time", *CHAT, 22, 1_400, 320),
    Line("nordic-news", "", "standard", *CHAT, 24, 2_600, 520),
    Line("havn-logistics", "", "standard", *CHAT, 16, 1_900, 380),
    Line("triage-agent", "triage", "real-time", *CHAT, 14, 3_600, 240),
    Line("research-agent", "planner", "batch", *BATCH, 8, 6_200, 900),
    Line("research-agent", "reader", "batch", *BATCH, 10, 9_500, 700),
    Line("nordic-news", "archive", "batch", *BATCH, 6, 5_200, 1_100),
)
GPU_TYPE = "NVIDIA H100 80GB HBM3"
GPUS = tuple(f"GPU-{n:08x}-0000-4000-8000-00000000000{n}" for n in range(4))
GPUS_OF = {CHAT[1]: (0, 1), BATCH[1]: (2, 3)}


@dataclass(frozen=True, slots=True)
class PlannedAttempt:
    """One request as the gateway saw it; seconds and milliseconds count from START."""

    line: Line
    start_ms: int
    ttft_ms: int
    duration_ms: int
    prompt: int
    cached: int
    output: int

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.duration_ms


def attempts(seed: int) -> list[PlannedAttempt]:
    """All attempts of the day, by their end; none runs in the idle hour."""
    rng = random.Random(seed)
    made = [_attempt(rng, hour) for hour in range(HOURS) for _ in range(LOAD[hour])]
    idle_from, idle_to = (IDLE_HOUR - 1) * 3_600_000, IDLE_HOUR * 3_600_000
    kept = [
        a
        for a in made
        if a.end_ms <= idle_from or (a.start_ms >= idle_to and a.end_ms < HOURS * 3_600_000)
    ]
    return sorted(kept, key=lambda a: (a.end_ms, a.start_ms, a.line.customer_id))


def usage_events(made: list[PlannedAttempt]) -> list[dict[str, Any]]:
    """The attempts as usage events, in the order given."""
    return [_event(attempt, number) for number, attempt in enumerate(made)]


def unknown_customer_event() -> dict[str, Any]:
    """Usage of somebody nobody has entered yet: it waits in suspense and carries its cost."""
    line = Line(UNKNOWN_CUSTOMER, "", "standard", *CHAT, 0, 0, 0)
    return _event(PlannedAttempt(line, 40_000_000, 300, 9_000, 24_000, 0, 1_800), 1_000_001)


def late_event() -> dict[str, Any]:
    """Usage that reaches the ledger after the invoice of its month was issued."""
    line = Line("fjord-bank", "", "real-time", *CHAT, 0, 0, 0)
    return _event(PlannedAttempt(line, 52_000_000, 250, 8_000, 120_000, 20_000, 6_000), 1_000_002)


def energy_readings(
    made: list[PlannedAttempt], seed: int
) -> Iterator[tuple[int, datetime, str, int]]:
    """(GPU number, sampled at, counter epoch, counter in mJ), as NVML would show it.

    One GPU's counter starts again near zero in the afternoon, after half a minute without readings.
    """
    rng = random.Random(seed + 1)
    running = {instance: _running(made, instance) for instance in GPUS_OF}
    for instance, gpus in GPUS_OF.items():
        for gpu in gpus:
            yield from _counter(gpu, running[instance], rng)


def _attempt(rng: random.Random, hour: int) -> PlannedAttempt:
    line = rng.choices(LINES, weights=[line.share for line in LINES])[0]
    prompt = line.prompt * rng.randrange(40, 200) // 100
    output = line.output * rng.randrange(30, 210) // 100
    cached = prompt * rng.choice((0, 0, 25, 50, 75)) // 100
    ttft_ms = 120 + (prompt - cached) // 12
    return PlannedAttempt(
        line=line,
        start_ms=hour * 3_600_000 + rng.randrange(3_600_000),
        ttft_ms=ttft_ms,
        duration_ms=ttft_ms + output * 22,
        prompt=prompt,
        cached=cached,
        output=output,
    )


def _running(made: list[PlannedAttempt], instance: str) -> list[int]:
    change = [0] * (HOURS * 3600 + 120)
    for attempt in made:
        if attempt.line.instance == instance:
            change[attempt.start_ms // 1000] += 1
            change[min(attempt.end_ms // 1000 + 1, len(change) - 1)] -= 1
    running, now = [], 0
    for step in change[: HOURS * 3600]:
        now += step
        running.append(now)
    return running


def _counter(
    gpu: int, running: list[int], rng: random.Random
) -> Iterator[tuple[int, datetime, str, int]]:
    counter_mj = 4_000_000_000 + gpu * 7_777_777
    epoch = "boot-1/load-1"
    for second in range(HOURS * 3600 + 1):
        if gpu == RESET_GPU and second == RESET_AT_S + RESET_GAP_S:
            counter_mj, epoch = 6_400_000, "boot-1/load-2"
        silent = gpu == RESET_GPU and RESET_AT_S < second < RESET_AT_S + RESET_GAP_S
        if second % READING_EVERY_S == 0 and not silent:
            yield gpu, START + timedelta(seconds=second), epoch, counter_mj
        if second < HOURS * 3600:
            counter_mj += _power_mw(running[second], rng)


def _power_mw(running: int, rng: random.Random) -> int:
    if running == 0:
        return 74_000 + rng.randrange(-1_500, 1_501)
    return 290_000 + 14_000 * min(running, 24) + rng.randrange(-9_000, 9_001)


def _event(attempt: PlannedAttempt, number: int) -> dict[str, Any]:
    line = attempt.line
    ended = _moment(attempt.end_ms)
    data: dict[str, Any] = {
        "request_id": f"req-{number:07d}",
        "customer_id": line.customer_id,
        "provider": "self_hosted",
        "served_model": line.model,
        "service_tier_served": line.tier,
        "started_at": _moment(attempt.start_ms),
        "first_token_at": _moment(attempt.start_ms + attempt.ttft_ms),
        "ended_at": ended,
        "usage": {
            "input": {
                "uncached": attempt.prompt - attempt.cached,
                "cache_read": attempt.cached,
                "cache_write": 0,
            },
            "output": {"visible": attempt.output, "reasoning": 0},
            "input_total": attempt.prompt,
            "output_total": attempt.output,
            "source": "engine_final",
            "complete": True,
        },
        "engine": {"name": "vllm", "instance": line.instance},
    }
    if line.agent:
        data["agent"] = {"id": line.agent}
    return {
        "specversion": "1.0",
        "id": f"req-{number:07d}.1.0",
        "source": SOURCE,
        "type": USAGE,
        "time": ended,
        "data": data,
    }


def _moment(offset_ms: int) -> str:
    moment = START + timedelta(milliseconds=offset_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
