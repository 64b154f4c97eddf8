"""Estimates what boards drew while no meter says so, by fitted weights and what ran meanwhile.

Invariant: what a meter proves stays as it is, and is the least that is told; an estimate is never
metered, covers no time, and is there wherever time is unread, so that what ran moves it alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple

from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.drift import FittedSet
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.cost.served import WindowFacts, frame_of, served_engines
from ledger.domain.cost.unread_work import StepsCounted, UnreadEngine, rest_together
from ledger.domain.energy.gpu_spans import BoardSpans, GpuSpans
from ledger.domain.energy.meter import EvenSpans, energy_columns
from ledger.domain.energy.span import BY_WEIGHTS, Span
from ledger.domain.metering.times import micros
from ledger.domain.period import WINDOW, WINDOW_SECONDS, Period, window_of

# Readings and events that come later than this after a window may still be on their way.
LATE = WINDOW
_OF_MILLIJOULES = 1_000_000
_IDLE = "idle"


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
    weight set or, of a GPU that several have, by which among others, and between what that lies,
    in mJ."""

    gpu_uuid: str
    weight_set_id: str
    version: int
    slots: int
    energy_mj: int
    low_mj: int
    high_mj: int


@dataclass(frozen=True, slots=True)
class EstimatedBy:
    """Estimates of a window by weight sets of who has some GPUs, slot by slot of each GPU."""

    sets: Sequence[FittedSet]
    estimates: Sequence[Estimate]

    def by_gpu(self) -> list[GpuEstimate]:
        """Added up; a row for each set."""
        of_gpus = groupby(self.estimates, attrgetter("gpu_uuid"))
        slots = [(gpu, [each[-3:] for each in of_gpu]) for gpu, of_gpu in of_gpus]
        return [
            GpuEstimate(
                *(gpu, fitted.weight_set_id, fitted.version, len(some)),
                *map(sum, zip(*some, strict=True)),
            )
            for gpu, some in slots
            for fitted in self.sets
        ]


def is_settled(window_start: datetime, received_at: datetime | None) -> bool:
    """Whether what was received by then has all that is on its way of a window: what is unread
    stays so."""
    return received_at is not None and window_start + WINDOW + LATE <= received_at


@dataclass(frozen=True, slots=True)
class Unread:
    """GPUs of which no meter says all, and the weights of everybody who has them, by deployment."""

    gpus: frozenset[str] = frozenset()
    fitted: Mapping[str, FittedSet] = field(default_factory=dict)


def find_unread(
    factory: Factory,
    window_start: datetime,
    gpus: Mapping[str, BoardSpans],
    deployment_ids: Collection[str] | None = None,
) -> Unread:
    """GPUs of the entity's deployments, or some of them, that are unread at any time of a window
    and of whose users, all of one slot, fitted weights estimate what they take."""
    window, fitted = window_of(window_start), valid_at(factory.fitted, window_start)
    by_deployment = {each.fitted.deployment_id: each.fitted for each in fitted if each.estimates}
    users: dict[str, list[Deployment]] = defaultdict(list)
    for deployment in valid_at(factory.deployments, window_start):
        for gpu in deployment.gpu_uuids:
            users[gpu].append(deployment)
    unread = {
        gpu: names
        for gpu, having in users.items()
        for names in [{d.deployment_id for d in having}]
        if names <= by_deployment.keys()
        and len({d.slot_s for d in having}) == 1
        and (deployment_ids is None or not names.isdisjoint(deployment_ids))
        and _unread(_read(gpus, gpu, window), _marks(window, having[0].slot_s)).any
    }
    named = {name for names in unread.values() for name in names}
    return Unread(frozenset(unread), {name: by_deployment[name] for name in sorted(named)})


def estimate_unread(
    factory: Factory,
    window_start: datetime,
    facts: WindowFacts,
    unread: Unread,
    counted: StepsCounted,
) -> Iterator[EstimatedBy]:
    """Of GPUs that are `unread`, by the weight sets of who has them; with the steps that engines
    counted."""
    window = window_of(window_start)
    engines = [
        UnreadEngine(engine, frame_of(served), counted, unread.fitted[own.deployment.deployment_id])
        for own in served_engines(factory, window_start, facts)
        if own.deployment.deployment_id in unread.fitted
        for engine, served in zip(own.engines, own.served, strict=True)
    ]
    users: dict[str, list[UnreadEngine]] = defaultdict(list)
    for each in engines:
        for gpu in each.engine.gpu_uuids:
            if gpu in unread.gpus:
                users[gpu].append(each)
    for each in engines:
        alone = [gpu for gpu in each.engine.gpu_uuids if users.get(gpu) == [each]]
        yield EstimatedBy([each.fitted], [*_of_engine(each, alone, window, facts.gpus)])
    for gpu, having in users.items():
        if len(having) > 1:
            sets = {each.fitted.deployment_id: each.fitted for each in having}
            yield EstimatedBy([*sets.values()], [*_of_shared(gpu, having, window, facts.gpus)])


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


def _of_engine(
    own: UnreadEngine, named: Sequence[str], window: Period, gpus: Mapping[str, BoardSpans]
) -> Iterator[Estimate]:
    """Each of its GPUs has an equal part of what it says."""
    marks = _marks(window, own.engine.slot_s)
    says = own.says(marks)
    for gpu in named:
        of_gpu = _unread(_read(gpus, gpu, window), marks)
        for at, unread_us in enumerate(of_gpu.unread_us):
            if unread_us:
                part = _OF_MILLIJOULES * (marks[at + 1] - marks[at]) * own.engine.gpu_count
                ends = (nanojoules * unread_us // part for nanojoules in says[at])
                beyond = (max(each - of_gpu.proved_mj[at], 0) for each in ends)
                yield Estimate(gpu, marks[at], marks[at + 1], *beyond)


def _of_shared(
    gpu: str, users: Sequence[UnreadEngine], window: Period, gpus: Mapping[str, BoardSpans]
) -> Iterator[Estimate]:
    """What the work of each takes, and the GPU while none of them runs: at rest it draws what the
    hungriest says."""
    marks = _marks(window, users[0].engine.slot_s)
    of_gpu = _unread(_read(gpus, gpu, window), marks)
    rest = rest_together(users, marks)
    works = [each.says_of_work(marks) for each in users]
    hungriest = max((each.fitted for each in users), key=lambda fitted: fitted.value[_IDLE])
    at_rest = [terms[_IDLE] for terms in (hungriest.value, hungriest.low, hungriest.high)]
    for at, unread_us in enumerate(of_gpu.unread_us):
        if unread_us:
            part = _OF_MILLIJOULES * (marks[at + 1] - marks[at])
            own = (
                [nanojoules // user.engine.gpu_count for nanojoules in work[at]]
                for user, work in zip(users, works, strict=True)
            )
            ends = (
                sum(of_end) * unread_us // part
                for of_end in zip([idle_mw * rest[at] for idle_mw in at_rest], *own, strict=True)
            )
            beyond = (max(each - of_gpu.proved_mj[at], 0) for each in ends)
            yield Estimate(gpu, marks[at], marks[at + 1], *beyond)


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
