"""Hours of load on engines, each of a kind that a split of cost can go wrong over."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tests.support.batching import Request, load, poisson

HOUR = 3_600
QUARTER = 900
# The last moment anybody may arrive, so that an hour ends with nobody in it.
LAST = HOUR - 120


# Of each scenario there are as many as seeds; so far apart lie the moments and sizes of two.
APART = 1_000


def steady_mix(seed: int = 0) -> list[Request]:
    """Four customers who ask and write in different proportions, all the time."""
    kinds = {"chat": (400, 0, 300), "search": (3_000, 500, 150), "agent": (600, 8_000, 250)}
    kinds["writer"] = (150, 0, 1_200)
    return [
        one
        for number, (name, tokens) in enumerate(kinds.items(), seed * APART)
        for one in load(name, poisson(number, 0, LAST, 0.15), tokens, seed=number)
    ]


def lone_then_burst(seed: int = 0) -> list[Request]:
    """Somebody alone, and a burst of others later in the same quarter hour."""
    found: list[Request] = []
    for quarter in range(4):
        start, number = quarter * QUARTER, quarter + seed * APART
        alone = [start + 10.0 + 20 * n for n in range(18)]
        burst = poisson(number, start + 480, start + 600, 6)
        found += load("lone", alone, (300, 0, 500), seed=number)
        found += load("burst", burst, (300, 0, 500), seed=number + 9)
    return found


def beside_a_peak(seed: int = 0) -> list[Request]:
    """A customer of every second minute beside one whose work all comes at once."""
    first = seed * APART
    found = load("steady", poisson(first + 7, 0, LAST, 0.3), (400, 0, 300), seed=first + 7)
    for quarter in range(4):
        start, number = quarter * QUARTER + 300, first + quarter + 20
        peak = poisson(number, start, start + 120, 8)
        found += load("peak", peak, (400, 0, 300), seed=number)
    return found


def long_context(seed: int = 0) -> list[Request]:
    """Short requests against such as look back on 60,000 tokens that a cache held."""
    first = seed * APART + 3
    short = load("short", poisson(first, 0, LAST, 0.4), (300, 0, 300), seed=first)
    moments = poisson(first + 1, 0, LAST, 0.08)
    return short + load("long", moments, (300, 60_000, 300), seed=first + 1)


def short_at_low_load(seed: int = 0) -> list[Request]:
    """Requests of a fraction of a second, an eighth of the time: some come alone, some together."""
    first = seed * APART + 5
    alone = load("alone", poisson(first, 0, LAST, 0.2), (200, 0, 30), seed=first)
    moments = [at for at in poisson(first + 1, 0, LAST, 0.12) for _ in range(6)]
    return alone + load("together", moments, (200, 0, 30), seed=first + 1)


def waiting_outside(seed: int = 0) -> list[Request]:
    """Every second request of one customer waits for a minute before it reaches the engine."""
    first = seed * APART
    found = load("prompt", poisson(first + 8, 0, LAST, 0.1), (400, 0, 300), seed=first + 8)
    for quarter in range(4):
        start, number = quarter * QUARTER, first + quarter + 30
        moments = poisson(number, start + 200, start + 380, 1.5)
        found += load("waits", moments, (400, 0, 300), seed=number, queued_s=60)
    return found


def one_of_eight(seed: int = 0) -> list[Request]:
    """What the one busy replica of eight serves."""
    number = seed * APART + 11
    return [*load("only", poisson(number, 0, LAST, 0.8), (500, 0, 300), seed=number)]


def prompts_in_chunks(seed: int = 0) -> list[Request]:
    """Prompts that are read in three to nine chunks while others write, and answers beside them."""
    kinds = {"documents": (12_000, 0, 60), "chat": (400, 0, 400)}
    rates = {"documents": 0.25, "chat": 0.5}
    return [
        one
        for number, (name, tokens) in enumerate(kinds.items(), seed * APART + 13)
        for one in load(name, poisson(number, 0, LAST, rates[name]), tokens, seed=number)
    ]


def varied(seed: int) -> list[Request]:
    """An hour that tells kinds of work apart: prompts alone, cached conversations, long answers,
    chats, one or two at a time, and pauses in between."""
    chance = np.random.default_rng(seed)
    kinds = {"prompts": (6_000, 0, 2), "cached": (100, 90_000, 2), "writer": (150, 0, 900)}
    kinds |= {"long": (300, 50_000, 300), "chat": (500, 1_000, 200)}
    rates = {"prompts": 3.0, "cached": 6.0, "writer": 2.0, "long": 1.5, "chat": 3.0}
    found: list[Request] = []
    now, number = 0.0, 0
    while now < HOUR - 240:
        for name in chance.permutation(list(kinds))[: chance.integers(1, 3)]:
            number += 1
            per_s = rates[name] * chance.uniform(0.3, 1.2)
            moments = poisson(seed * 1_000 + number, now, now + 70, per_s)
            found += load(str(name), moments, kinds[name], seed=number)
        now += 75 + chance.choice([0, 0, 40])
    return found


def any_load(seed: int) -> list[Request]:
    """Up to five kinds of requests of any size, all at once or one after the other."""
    chance = np.random.default_rng(seed)
    kinds = [
        (
            int(np.exp(chance.uniform(3, 8.7))),
            int(np.exp(chance.uniform(5, 11))) if chance.random() < 0.5 else 0,
            int(np.exp(chance.uniform(0.7, 7))),
        )
        for _ in range(chance.integers(1, 6))
    ]
    spread = float(chance.choice([0.0, 0.5]))
    found: list[Request] = []
    now, number, all_along = 0.0, 0, chance.random() < 0.4
    while now < HOUR - 260:
        length = LAST - 100 - now if all_along else chance.uniform(20, 150)
        for at in range(len(kinds)) if all_along else [int(chance.integers(len(kinds)))]:
            number += 1
            asked, _, written = kinds[at]
            busy_s = written * 0.0014 + asked * 0.00003 + 0.02
            per_s = min(chance.uniform(0.05, 0.5) / busy_s, 5) / (len(kinds) if all_along else 1)
            moments = poisson(seed * 1_000 + number, now, now + length, per_s)
            found += load(f"kind-{at}", moments, kinds[at], seed=number, spread=spread)
        now += length + (chance.uniform(20, 90) if chance.random() < 0.5 else 0)
    return found


SCENARIOS: Mapping[str, Callable[..., Sequence[Request]]] = {
    "steady-mix": steady_mix,
    "lone-then-burst": lone_then_burst,
    "beside-a-peak": beside_a_peak,
    "long-context": long_context,
    "short-at-low-load": short_at_low_load,
    "waiting-outside": waiting_outside,
    "prompts-in-chunks": prompts_in_chunks,
}
