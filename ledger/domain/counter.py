"""Turns raw cumulative counters of an inference server into tokens between scrapes.

Invariant: within a run the deltas add up to last minus first; nothing that was scraped is lost.
Rules: reference for counter collectors, one run is one life of the counters.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ledger.domain.money import EXACT
from ledger.domain.period import EPOCH

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CounterSample:
    """One counter of one engine instance at one scrape."""

    instance: str
    metric: str
    labels: Labels
    run_id: str
    run_started_at: datetime | None
    scraped_at: datetime
    value: Decimal


@dataclass(frozen=True, slots=True)
class CounterDelta:
    """What a counter grew by between two scrapes; `flag` is empty, `new_run` or `reset_suspected`.

    `since` is the previous scrape, or the run's start for a run first seen here.
    """

    instance: str
    metric: str
    labels: Labels
    run_id: str
    since: datetime
    until: datetime
    delta: Decimal
    flag: str = ""


def counter_deltas(samples: Iterable[CounterSample]) -> list[CounterDelta]:
    """Growth of every counter, in (instance, metric, labels, time) order.

    First sight is a baseline and yields nothing, unless the run began after the instance's previous
    scrape; a new run yields its value itself; a fall without a new run yields the value, flagged.
    """
    ordered = sorted(set(samples), key=_order)
    scrapes = _scrapes(ordered)
    deltas: list[CounterDelta] = []
    previous: CounterSample | None = None
    for sample in ordered:
        same = previous if previous and _stream(previous) == _stream(sample) else None
        grown = _delta(same, sample, scrapes[sample.instance])
        if grown is not None:
            deltas.append(grown)
        # Of two values of one scrape the lower stands, so that the rest comes with the next one.
        if same is None or same.scraped_at != sample.scraped_at:
            previous = sample
    return deltas


def _order(sample: CounterSample) -> tuple[object, ...]:
    began = sample.run_started_at or EPOCH
    return (*_stream(sample), sample.scraped_at, sample.value, sample.run_id, began)


def _stream(sample: CounterSample) -> tuple[str, str, Labels]:
    return (sample.instance, sample.metric, sample.labels)


def _scrapes(samples: Iterable[CounterSample]) -> dict[str, list[datetime]]:
    moments: dict[str, set[datetime]] = defaultdict(set)
    for sample in samples:
        moments[sample.instance].add(sample.scraped_at)
    return {instance: sorted(found) for instance, found in moments.items()}


def _delta(
    before: CounterSample | None, sample: CounterSample, scrapes: list[datetime]
) -> CounterDelta | None:
    if before is not None and before.scraped_at == sample.scraped_at:
        return None
    if before is None:
        earlier = [moment for moment in scrapes if moment < sample.scraped_at]
        began = sample.run_started_at
        if not earlier or began is None or began <= earlier[-1]:
            return None
        return _grown(sample, began, sample.value, "new_run")
    if before.run_id != sample.run_id:
        return _grown(sample, before.scraped_at, sample.value, "new_run")
    if sample.value < before.value:
        return _grown(sample, before.scraped_at, sample.value, "reset_suspected")
    return _grown(sample, before.scraped_at, EXACT.subtract(sample.value, before.value), "")


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
    )
