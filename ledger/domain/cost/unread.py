"""Estimates what boards drew while no meter says so, by fitted weights and what ran meanwhile.

Invariant: what a meter proves stays as it is, and is the least that is told; an estimate is never
metered, covers no time, and is there wherever time is unread, so that what ran moves it alone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple, TypeAlias

import polars as pl

from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.cost.calibration import TERMS, Slot
from ledger.domain.cost.cells import cells_of
from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.drift import FittedSet
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.cost.grown import Grown
from ledger.domain.cost.served import WindowFacts, served_engines
from ledger.domain.cost.slots import steps_between
from ledger.domain.energy.gpu_spans import BoardSpans, GpuSpans
from ledger.domain.energy.meter import BY_WEIGHTS, EvenSpans, Span, energy_columns
from ledger.domain.metering.engine_counter import CounterDelta
from ledger.domain.metering.times import micros
from ledger.domain.period import WINDOW, WINDOW_SECONDS, Period, window_of

# Readings and events that come later than this after a window may still be on their way.
LATE = WINDOW
# Growth of each engine's own count of its steps.
StepsCounted: TypeAlias = Mapping[str, Sequence[CounterDelta]]
# Steps that no engine counts are taken to be as many as those who wrote have tokens in turn: on
# simulated loads at most so much beside the true ones.
STEPS_OPEN_PERCENT = 4
_STEP = TERMS.index("step")
_OF_MILLIJOULES = 1_000_000
_NOTHING_RAN = (0, 0, 0, 0, 0)


class Estimate(NamedTuple):
    """What a GPU is taken to have drawn in the unread time of a slot beyond what its meter proves,
    and between what that lies, in mJ."""

    gpu_uuid: str
    start_us: int
    end_us: int
    energy_mj: int
    low_mj: int
    high_mj: int


class GpuEstimate(NamedTuple):
    """What a GPU is taken to have drawn in unread time of so many slots of a window, by which
    weight set, and between what that lies, in mJ."""

    gpu_uuid: str
    weight_set_id: str
    version: int
    slots: int
    energy_mj: int
    low_mj: int
    high_mj: int


@dataclass(frozen=True, slots=True)
class EstimatedBy:
    """Estimates of a window by a weight set of a deployment, slot by slot of each GPU."""

    fitted: FittedSet
    estimates: Sequence[Estimate]

    def by_gpu(self) -> list[GpuEstimate]:
        """Added up."""
        named = self.fitted.weight_set_id, self.fitted.version
        of_gpus = groupby(self.estimates, attrgetter("gpu_uuid"))
        slots = ((gpu, [each[-3:] for each in of_gpu]) for gpu, of_gpu in of_gpus)
        return [
            GpuEstimate(gpu, *named, len(some), *map(sum, zip(*some, strict=True)))
            for gpu, some in slots
        ]


def is_settled(window_start: datetime, received_at: datetime | None) -> bool:
    """Whether what was received by then has all that is on its way of a window: what is unread
    stays so."""
    return received_at is not None and window_start + WINDOW + LATE <= received_at


def find_unread(
    factory: Factory,
    window_start: datetime,
    gpus: Mapping[str, BoardSpans],
    deployment_ids: Collection[str] | None = None,
) -> Mapping[str, FittedSet]:
    """Weight sets that were fitted and estimate what no meter says, of the entity's deployments, or
    some of them, of which any GPU is unread at any time of a window."""
    window, fitted = window_of(window_start), valid_at(factory.fitted, window_start)
    by_deployment = {each.fitted.deployment_id: each.fitted for each in fitted if each.estimates}
    return {
        d.deployment_id: by_deployment[d.deployment_id]
        for d in valid_at(factory.deployments, window_start)
        # Of a part of a GPU no weights are fitted: its meter tells of others too.
        if d.deployment_id in by_deployment
        and not d.shares_gpus
        and (deployment_ids is None or d.deployment_id in deployment_ids)
        and any(
            _unread(_read(gpus, gpu, window), _marks(window, d.slot_s)).any for gpu in d.gpu_uuids
        )
    }


def estimate_unread(
    factory: Factory,
    window_start: datetime,
    facts: WindowFacts,
    unread: Mapping[str, FittedSet],
    counted: StepsCounted,
) -> Iterator[EstimatedBy]:
    """Of deployments that are `unread`, by their weight sets; with the steps that engines
    counted."""
    window = window_of(window_start)
    for own in served_engines(factory, window_start, facts):
        fitted = unread.get(own.deployment.deployment_id)
        if fitted is not None:
            estimates = [
                estimate
                for engine, served in zip(own.engines, own.served, strict=True)
                for estimate in _of_engine(
                    engine, _Ran(served, counted), window, facts.gpus, fitted
                )
            ]
            yield EstimatedBy(fitted, estimates)


def with_estimates(
    facts: WindowFacts, window: Period, estimated: Sequence[Estimate]
) -> WindowFacts:
    """The facts of a window with what is estimated beside what was read."""
    gpus = dict(facts.gpus)
    by_gpu: dict[str, list[Span]] = {}
    for each in estimated:
        span = Span(each.start_us, each.end_us, each.energy_mj, metered=False, finding=BY_WEIGHTS)
        by_gpu.setdefault(each.gpu_uuid, []).append(span)
    for gpu, spans in by_gpu.items():
        together = [*_read(facts.gpus, gpu, window), *spans]
        gpus[gpu] = GpuSpans(sorted(together, key=lambda span: (span.start_us, span.end_us)))
    return replace(facts, gpus=gpus) if by_gpu else facts


@dataclass(frozen=True, slots=True)
class _Ran:
    """What an engine served, and the steps that it counted."""

    served: pl.DataFrame | None
    counted: StepsCounted

    def steps_of(self, engine: Deployment, marks: Sequence[int]) -> Sequence[int | None]:
        """How often it stepped in each slot; None where any of its instances did not say."""
        named = engine.engine_instances
        if not named or not all(name in self.counted for name in named):
            return [None] * (len(marks) - 1)
        grown = Grown.of([each for name in named for each in self.counted[name]], marks)
        return [grown.total(at) if known else None for at, known in enumerate(grown.known)]


def _of_engine(
    engine: Deployment,
    ran: _Ran,
    window: Period,
    gpus: Mapping[str, BoardSpans],
    fitted: FittedSet,
) -> Iterator[Estimate]:
    marks = _marks(window, engine.slot_s)
    unread = {gpu: _unread(_read(gpus, gpu, window), marks) for gpu in engine.gpu_uuids}
    if not any(each.any for each in unread.values()):
        return
    says = [_says(fitted, slot) for slot in _slots(engine, ran, marks)]
    for gpu, of_gpu in unread.items():
        for at, unread_us in enumerate(of_gpu.unread_us):
            if unread_us:
                part = _OF_MILLIJOULES * (marks[at + 1] - marks[at]) * engine.gpu_count
                ends = (nanojoules * unread_us // part for nanojoules in says[at])
                beyond = (max(each - of_gpu.proved_mj[at], 0) for each in ends)
                yield Estimate(gpu, marks[at], marks[at + 1], *beyond)


def _says(fitted: FittedSet, slot: Slot) -> tuple[int, int, int]:
    """What a slot took by the set, and between what that lies: its terms, and how often engines
    stepped where nobody counted it."""
    is_counted = slot.steps is not None
    columns = (slot if is_counted else replace(slot, steps=slot.shared_steps)).columns()
    value, low, high = fitted.says(columns)
    left_open = 0 if is_counted else STEPS_OPEN_PERCENT
    steps = columns[_STEP] * fitted.value["step"] * left_open // 100
    return value, low - steps, high + steps


class _Unread(NamedTuple):
    """Of each slot, how long no meter says what a board drew, and what it proves of that time."""

    unread_us: Sequence[int]
    proved_mj: Sequence[int]

    @property
    def any(self) -> bool:
        return any(self.unread_us)


def _unread(spans: Sequence[Span], marks: Sequence[int]) -> _Unread:
    sure = spans if isinstance(spans, EvenSpans) else [span for span in spans if not span.at_least]
    least = [] if isinstance(spans, EvenSpans) else [span for span in spans if span.at_least]
    read, proved = energy_columns(sure, marks), energy_columns(least, marks)
    lengths = (end - start for start, end in pairwise(marks))
    unread_us = [length - us for length, us in zip(lengths, read.covered_us, strict=True)]
    return _Unread(unread_us, [*map(sum, zip(proved.metered_mj, proved.estimated_mj, strict=True))])


def _read(gpus: Mapping[str, BoardSpans], gpu: str, window: Period) -> Sequence[Span]:
    return gpus[gpu].within(window) if gpu in gpus else ()


def _marks(window: Period, slot_s: int) -> list[int]:
    since = micros(window.start)
    return [since + n * slot_s * SECOND_US for n in range(WINDOW_SECONDS // slot_s + 1)]


def _slots(engine: Deployment, ran: _Ran, marks: Sequence[int]) -> Iterator[Slot]:
    """What ran in each slot, with the steps that were counted and those of who wrote."""
    seen = set() if ran.served is None else {*ran.served["instance"].unique()}
    instances = sorted({*engine.engine_instances, *seen})
    work, shared = _work(ran.served, instances, marks)
    engines, counted = max(len(instances), 1), ran.steps_of(engine, marks)
    for at in range(len(marks) - 1):
        uncached, cache_read, output, context, covered_us = work.get(at, _NOTHING_RAN)
        rest_us = ((marks[at + 1] - marks[at]) * engines - covered_us) * engine.gpu_count // engines
        tokens = uncached, cache_read, output, context
        yield Slot(0, rest_us, not covered_us, *tokens, counted[at], sum(shared[at]))


def _work(
    served: pl.DataFrame | None, instances: Sequence[str], marks: Sequence[int]
) -> tuple[Mapping[int, Sequence[int]], Sequence[tuple[int, int]]]:
    if served is None:
        return {}, [(0, 0)] * (len(marks) - 1)
    numbers = {name: number for number, name in enumerate(instances)}
    engine = pl.col("instance").replace_strict(numbers, return_dtype=pl.Int64)
    ran = served.with_columns(engine=engine)
    cells = cells_of(ran, marks).select(
        "cell", "uncached", "cache_read", "output", "context", "covered_us"
    )
    work = {cell: parts for cell, *parts in cells.iter_rows()}
    return work, steps_between(ran, marks[0], marks)
