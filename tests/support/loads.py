"""Hours of load on engines, each of a kind that a split of cost can go wrong over."""

from collections.abc import Callable, Mapping, Sequence

from tests.support.batching import Request, load, poisson

HOUR = 3_600
QUARTER = 900
# The last moment anybody may arrive, so that an hour ends with nobody in it.
LAST = HOUR - 120


def steady_mix() -> list[Request]:
    """Four customers who ask and write in different proportions, all the time."""
    kinds = {"chat": (400, 0, 300), "search": (3_000, 500, 150), "agent": (600, 8_000, 250)}
    kinds["writer"] = (150, 0, 1_200)
    return [
        one
        for seed, (name, tokens) in enumerate(kinds.items())
        for one in load(name, poisson(seed, 0, LAST, 0.15), tokens, seed=seed)
    ]


def lone_then_burst() -> list[Request]:
    """Somebody alone, and a burst of others later in the same quarter hour."""
    found: list[Request] = []
    for quarter in range(4):
        start = quarter * QUARTER
        alone = [start + 10.0 + 20 * n for n in range(18)]
        burst = poisson(quarter, start + 480, start + 600, 6)
        found += load("lone", alone, (300, 0, 500), seed=quarter)
        found += load("burst", burst, (300, 0, 500), seed=quarter + 9)
    return found


def beside_a_peak() -> list[Request]:
    """A customer of every second minute beside one whose work all comes at once."""
    found = load("steady", poisson(7, 0, LAST, 0.3), (400, 0, 300), seed=7)
    for quarter in range(4):
        start = quarter * QUARTER + 300
        peak = poisson(quarter + 20, start, start + 120, 8)
        found += load("peak", peak, (400, 0, 300), seed=quarter + 20)
    return found


def long_context() -> list[Request]:
    """Short requests against such as look back on 60,000 tokens that a cache held."""
    short = load("short", poisson(3, 0, LAST, 0.4), (300, 0, 300), seed=3)
    return short + load("long", poisson(4, 0, LAST, 0.08), (300, 60_000, 300), seed=4)


def short_at_low_load() -> list[Request]:
    """Requests of a fraction of a second, an eighth of the time: some come alone, some together."""
    alone = load("alone", poisson(5, 0, LAST, 0.2), (200, 0, 30), seed=5)
    moments = [at for at in poisson(6, 0, LAST, 0.12) for _ in range(6)]
    return alone + load("together", moments, (200, 0, 30), seed=6)


def waiting_outside() -> list[Request]:
    """Every second request of one customer waits for a minute before it reaches the engine."""
    found = load("prompt", poisson(8, 0, LAST, 0.1), (400, 0, 300), seed=8)
    for quarter in range(4):
        start = quarter * QUARTER
        moments = poisson(quarter + 30, start + 200, start + 380, 1.5)
        found += load("waits", moments, (400, 0, 300), seed=quarter + 30, queued_s=60)
    return found


def one_of_eight() -> list[Request]:
    """What the one busy replica of eight serves."""
    return [*load("only", poisson(11, 0, LAST, 0.8), (500, 0, 300), seed=11)]


SCENARIOS: Mapping[str, Callable[[], Sequence[Request]]] = {
    "steady-mix": steady_mix,
    "lone-then-burst": lone_then_burst,
    "beside-a-peak": beside_a_peak,
    "long-context": long_context,
    "short-at-low-load": short_at_low_load,
    "waiting-outside": waiting_outside,
}
