"""Turns raw cumulative counters of an inference server into tokens between scrapes.

Invariant: within a run the deltas add up to last minus first; nothing that was scraped is lost.
Rules: reference for counter collectors, one run is one life of the counters.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate, groupby, pairwise

from ledger.domain.money import EXACT, ZERO
from ledger.domain.period import EPOCH

Labels = tuple[tuple[str, str], ...]
# A server that works out its start from the host's clock gives another one after a step of it.
START_JITTER = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class CounterSample:
    """One counter of one engine instance at one scrape; `inexact` where its server rounded it."""

    instance: str
    metric: str
    labels: Labels
    run_id: str
    run_started_at: datetime | None
    scraped_at: datetime
    value: Decimal
    inexact: bool = False


@dataclass(frozen=True, slots=True)
class CounterDelta:
    """What a counter grew by between two scrapes; `flag` is empty, or why that is not certain.

    `new_run`: counted from the run's start, which is `since`. `first_seen`: the run was there at
    the scrape before, the counter was not; what it counted until now is left out.
    `reset_suspected`: it fell to less than half and stayed there. `fell`: it fell and came back, or
    fell by little, or jumped to where another process's counter is known to be; nothing is new.
    `start_moved`: its run says another start, too near for another process that counts on.
    `inexact` where the value it ends with was rounded by the server that printed it.
    """

    instance: str
    metric: str
    labels: Labels
    run_id: str
    since: datetime
    until: datetime
    delta: Decimal
    flag: str = ""
    inexact: bool = False


def counter_deltas(samples: Iterable[CounterSample]) -> list[CounterDelta]:
    """Growth of every counter, in (instance, metric, labels, time) order.

    A counter is compared with the same run's own last value: several processes may answer behind
    one address. First sight of a run is a baseline and yields nothing, unless the run began after
    the instance's previous scrape; a fall without a new run yields the value where the counter
    begins again, and nothing where it comes back. Counters of several processes under one run are
    followed side by side, so that never more is counted than they grew by.
    """
    ordered = sorted(set(samples), key=_order)
    scrapes = _scrapes(ordered)
    deltas: list[CounterDelta] = []
    for _, alike in groupby(ordered, key=_stream):
        runs = _runs(alike)
        of_stream = [
            delta
            for run in runs
            for delta in _run_deltas(_one_a_scrape(run), scrapes[run[0].instance], alone=len(runs))
        ]
        deltas += sorted(of_stream, key=lambda delta: (delta.until, delta.run_id))
    return deltas


def _order(sample: CounterSample) -> tuple[object, ...]:
    began = sample.run_started_at or EPOCH
    return (*_stream(sample), sample.scraped_at, sample.value, sample.run_id, began, sample.inexact)


def _stream(sample: CounterSample) -> tuple[str, str, Labels]:
    return (sample.instance, sample.metric, sample.labels)


def _scrapes(samples: Iterable[CounterSample]) -> dict[str, list[datetime]]:
    moments: dict[str, set[datetime]] = defaultdict(set)
    for sample in samples:
        moments[sample.instance].add(sample.scraped_at)
    return {instance: sorted(at) for instance, at in moments.items()}


def _runs(samples: Iterable[CounterSample]) -> list[list[CounterSample]]:
    """Samples of each run in their order; runs whose starts differ by jitter alone are one."""
    by_id: dict[str, list[CounterSample]] = defaultdict(list)
    for sample in samples:
        by_id[sample.run_id].append(sample)
    near: list[list[list[CounterSample]]] = []
    for run in sorted(by_id.values(), key=lambda run: run[0].run_started_at or EPOCH):
        if near and _near(near[-1][-1][0], run[0]):
            near[-1].append(run)
        else:
            near.append([run])
    return [run for alike in near for run in _joined(alike)]


def _joined(runs: list[list[CounterSample]]) -> list[list[CounterSample]]:
    """Runs that began together as one, where one counter can have shown all of their values."""
    whole = sorted((sample for run in runs for sample in run), key=_order)
    is_same_run = all(before.value <= after.value for before, after in pairwise(whole))
    return [whole] if is_same_run else runs


def _near(sample: CounterSample, other: CounterSample) -> bool:
    starts = (sample.run_started_at, other.run_started_at)
    return starts[0] is not None and starts[1] is not None and starts[1] - starts[0] <= START_JITTER


def _one_a_scrape(run: Iterable[CounterSample]) -> list[CounterSample]:
    """Of two values of one scrape the lower stands, so that the rest comes with the next one."""
    return [next(alike) for _, alike in groupby(run, key=lambda sample: sample.scraped_at)]


def _run_deltas(
    run: Sequence[CounterSample], scrapes: Sequence[datetime], *, alone: int
) -> Iterator[CounterDelta]:
    first = run[0]
    earlier = scrapes[: bisect_left(scrapes, first.scraped_at)]
    if earlier and _began_since(first, earlier[-1], unmarked=alone > 1):
        yield _grown(first, first.run_started_at or earlier[-1], first.value, "new_run")
    elif earlier:
        yield _grown(first, earlier[-1], ZERO, "first_seen")
    yield from _followed(run)


def _began_since(first: CounterSample, earlier: datetime, *, unmarked: bool) -> bool:
    """Whether a run seen for the first time has counted all of its value since that scrape.

    A run that does not say when it began is new where its counter was seen in another run.
    """
    began = first.run_started_at
    return unmarked if began is None else began > earlier


def _followed(run: Sequence[CounterSample]) -> list[CounterDelta]:
    """Growth from scrape to scrape of the counters behind a run; one, unless processes share it."""
    # What each of them last showed, lowest first.
    shown = [run[0].value]
    deltas: list[CounterDelta] = []
    steps: list[tuple[Decimal, Decimal]] = []
    for (before, sample), to_come in zip(pairwise(run), _highest_to_come(run), strict=True):
        value, index = sample.value, bisect_right(shown, sample.value)
        flag, grown = "fell", ZERO
        step = (value, value)
        if index < len(shown) and value * 2 > shown[index]:
            pass
        elif index:
            flag, grown = "", EXACT.subtract(value, shown[index - 1])
            step, shown[index - 1] = (shown[index - 1], value), value
        elif len(shown) > 1 or to_come >= shown[0]:
            shown.insert(0, value)
            grown = _take_back(deltas, steps, value)
        else:
            flag, grown, shown = "reset_suspected", value, [value]
        if not flag and before.run_id != sample.run_id:
            flag = "start_moved"
        deltas.append(_grown(sample, before.scraped_at, grown, flag))
        steps.append(step)
    return deltas


def _take_back(
    deltas: list[CounterDelta], steps: Sequence[tuple[Decimal, Decimal]], value: Decimal
) -> Decimal:
    """What a second counter, found at this value, grew by since it was last taken for the first.

    The step from the one to the other, counted as growth, is taken back: of the steps over this
    value the widest. A counter at zero says nothing of where it was before.
    """
    over = [n for n, (low, high) in enumerate(steps) if low <= value < high]
    if not value or not over:
        return ZERO
    widest = max(over, key=lambda n: steps[n][1])
    deltas[widest] = replace(deltas[widest], delta=ZERO, flag="fell")
    return EXACT.subtract(value, steps[widest][0])


def _highest_to_come(run: Sequence[CounterSample]) -> list[Decimal]:
    """After each sample but the first, the highest value of those behind it."""
    highest = list(accumulate((sample.value for sample in reversed(run[2:])), max))
    return [*reversed(highest), ZERO][: len(run) - 1]


def _grown(sample: CounterSample, since: datetime, delta: Decimal, flag: str) -> CounterDelta:
    return CounterDelta(
        instance=sample.instance,
        metric=sample.metric,
        labels=sample.labels,
        run_id=sample.run_id,
        since=since,
        until=sample.scraped_at,
        delta=delta,
        flag=flag,
        inexact=sample.inexact,
    )
