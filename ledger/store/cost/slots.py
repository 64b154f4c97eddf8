"""Reads what a deployment's meters and engines showed of some time, stretch by stretch, to fit by.

Stretches begin and end where an engine's counters were read, so that its steps are whole numbers;
only those count whose energy was measured all along, and whose counters are certain.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from ledger.domain.cost.calibration import Claimed, Slot
from ledger.domain.cost.cells import cells_of
from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.cost.grown import Grown
from ledger.domain.cost.phase_time import DECODE, PHASES, PREFILL, PhaseSlot
from ledger.domain.cost.served import WindowFacts, claimed
from ledger.domain.cost.slots import steps_between
from ledger.domain.energy.calibration import calibrated
from ledger.domain.energy.counter_course import NEAR
from ledger.domain.energy.meter import energy_between, spans
from ledger.domain.metering.engine_counter import CounterDelta, counter_deltas
from ledger.domain.metering.reconcile import INPUT, METRICS, OUTPUT, STEPS, Counted, is_worked_on
from ledger.domain.metering.times import micros
from ledger.domain.period import WINDOW, Period
from ledger.store.cost.work import Work
from ledger.store.energy import meter
from ledger.store.queries import Connection

PHASE_SECONDS = "busy_seconds"
_WORK = ("uncached", "cache_read", "output", "context", "covered_us")
# The same, and steps of those who wrote and of those who read.
_NOTHING = (0,) * (len(_WORK) + 2)
_MICROS = 10**6
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class DeploymentSlots:
    """Stretches of a deployment's time in their order, and the tokens that its engines counted in
    it beside those that events claim; `phases` None: no engine says for how long it worked on
    any."""

    slots: Sequence[Slot]
    phases: Sequence[PhaseSlot] | None
    tokens: Mapping[str, Claimed]


async def read_slots(
    connection: Connection,
    factory: Factory,
    deployment: Deployment,
    period: Period,
    work: Work,
    *,
    by: str = STEPS,
    batch_seq: int,
) -> DeploymentSlots:
    """What a deployment did in whole windows, of which `work` is all that ran, as known at a
    cut-off; in one snapshot. Stretches lie between readings of the counters `by`."""
    counted = await _read_counters(connection, deployment, period, batch_seq)
    edges = _edges(counted, deployment, period, by)
    ran = _work(factory, deployment, work, edges)
    energy = await _read_energy(connection, factory, deployment, edges, batch_seq)
    marks = [micros(edge) for edge in edges]
    steps = Grown.of((delta for delta in counted if delta.metric == STEPS), marks)
    slots = [
        slot
        for number, slot in enumerate(_slots(deployment, marks, energy, ran, steps))
        if slot is not None and (steps.known[number] or not any(steps.known))
    ]
    of_phases = (delta for delta in counted if delta.metric == PHASE_SECONDS)
    phases = Grown.of(of_phases, marks, _MICROS)
    return DeploymentSlots(
        slots,
        list(_phase_slots(deployment, marks, energy, ran, phases)) if phases.parts else None,
        _tokens(counted, ran, edges),
    )


async def _read_counters(
    connection: Connection, deployment: Deployment, period: Period, batch_seq: int
) -> list[CounterDelta]:
    deltas: list[CounterDelta] = []
    for instance in deployment.engine_instances:
        samples = await meter.find_engine_counters(
            connection,
            engine_instance=instance,
            metrics=(STEPS, PHASE_SECONDS, *METRICS),
            since=period.start,
            until=period.end,
            batch_seq=batch_seq,
        )
        deltas += counter_deltas(samples)
    return deltas


def _edges(
    counted: Iterable[CounterDelta], deployment: Deployment, period: Period, by: str
) -> list[datetime]:
    """Where an engine's counters were read, a slot's length apart or more; slots where nobody
    did."""
    length, edges = timedelta(seconds=deployment.slot_s), [period.start]
    of_metric = [delta for delta in counted if delta.metric == by]
    first = min((delta.instance for delta in of_metric), default=None)
    read = {delta.until for delta in of_metric if delta.instance == first}
    even = (period.start + length * n for n in range(1, (period.end - period.start) // length + 1))
    for moment in sorted(read) if read else even:
        if moment - edges[-1] >= length and moment <= period.end:
            edges.append(moment)
    return edges


def _work(
    factory: Factory, deployment: Deployment, work: Work, edges: Sequence[datetime]
) -> dict[int, list[int]]:
    """What ran in each stretch, by its number: window by window, as attempts are found."""
    marks = [micros(edge) for edge in edges]
    summed: dict[int, list[int]] = {}
    for window_us, attempts in sorted(work.by_window.items()):
        end_us = window_us + WINDOW // timedelta(microseconds=1)
        inside = [mark for mark in marks if window_us < mark < end_us]
        own = [max(window_us, marks[0]), *inside, min(end_us, marks[-1])]
        if own[0] >= own[-1]:
            continue
        deployed = valid_at(factory.deployments, edges[0])
        facts = WindowFacts(attempts, work.keys, {})
        served = claimed(deployed, facts).get(deployment.deployment_id)
        if served is None:
            continue
        ran = served.frame()
        first = bisect_right(marks, own[0]) - 1
        numbered = _numbered(deployment, ran)
        steps = steps_between(numbered, window_us, own, deployment.prefill_chunk)
        for cell, *parts in cells_of(numbered, own).select("cell", *_WORK).iter_rows():
            before = summed.get(first + cell, _NOTHING)
            there = (*parts, *steps[cell])
            summed[first + cell] = [a + b for a, b in zip(before, there, strict=True)]
    return summed


def _numbered(deployment: Deployment, ran: pl.DataFrame) -> pl.DataFrame:
    numbers = {name: n for n, name in enumerate(_engines(deployment, ran["instance"]))}
    engine = pl.col("instance").replace_strict(numbers, return_dtype=pl.Int64)
    return ran.with_columns(engine=engine)


def _engines(deployment: Deployment, seen: Iterable[str]) -> list[str]:
    return sorted({*deployment.engine_instances, *seen})


async def _read_energy(
    connection: Connection,
    factory: Factory,
    deployment: Deployment,
    edges: Sequence[datetime],
    batch_seq: int,
) -> list[int | None]:
    """What all boards used in each stretch in mJ; None where not all of it was measured."""
    readings = await meter.find_energy_readings(
        connection,
        gpu_uuids=deployment.gpu_uuids,
        since=edges[0] - NEAR,
        until=edges[-1] + NEAR,
        batch_seq=batch_seq,
    )
    total: list[int | None] = [0 if deployment.gpu_uuids else None] * (len(edges) - 1)
    for gpu in deployment.gpu_uuids:
        true = [each.calibration for each in factory.meters if each.meter == gpu]
        measured = energy_between(calibrated(spans(readings.get(gpu, [])), true), edges)
        for at, part in enumerate(measured):
            length_us = (edges[at + 1] - edges[at]) // timedelta(microseconds=1)
            so_far = total[at]
            whole = part.covered_us == length_us and not part.estimated_mj
            total[at] = so_far + part.metered_mj if whole and so_far is not None else None
    return total


def _slots(
    deployment: Deployment,
    marks: Sequence[int],
    energy: Sequence[int | None],
    ran: Mapping[int, Sequence[int]],
    steps: Grown,
) -> Iterator[Slot | None]:
    engines = max(len(deployment.engine_instances), 1)
    for at, energy_mj in enumerate(energy):
        uncached, cached, output, context, covered_us, *shared = ran.get(at, _NOTHING)
        length_us = marks[at + 1] - marks[at]
        rest_us = (length_us * engines - covered_us) * deployment.gpu_count // engines
        counted = steps.total(at) if any(steps.known) else None
        is_idle = not covered_us and not counted
        yield (
            Slot(
                energy_mj, rest_us, is_idle, uncached, cached, output, context, counted, sum(shared)
            )
            if energy_mj
            else None
        )


def _phase_slots(
    deployment: Deployment,
    marks: Sequence[int],
    energy: Sequence[int | None],
    ran: Mapping[int, Sequence[int]],
    grown: Grown,
) -> Iterator[PhaseSlot]:
    if {instance for instance, _ in grown.parts} != {*deployment.engine_instances}:
        # Nobody knows for how long the others worked.
        return
    for at, energy_mj in enumerate(energy):
        if energy_mj and grown.known[at]:
            times = _gpu_times(deployment, grown, at)
            uncached, cached, output, context, _, steps, reads = ran.get(at, _NOTHING)
            yield PhaseSlot(
                energy_mj,
                times[PREFILL],
                times[DECODE],
                times[_OTHER],
                (marks[at + 1] - marks[at]) * deployment.gpu_count,
                *(uncached, cached, output, context, steps, reads),
            )


def _gpu_times(deployment: Deployment, grown: Grown, at: int) -> Mapping[str, int]:
    """GPU-time of each phase: ranks of an engine each count their own, on a part of its GPUs."""
    times: dict[str, int] = defaultdict(int)
    engines = len(deployment.engine_instances)
    ranks: dict[str, set[object]] = defaultdict(set)
    for instance, labels in grown.parts:
        ranks[instance].add(tuple(pair for pair in labels if pair[0] != "phase"))
    for (instance, labels), part in grown.parts.items():
        phase = PHASES.get(dict(labels).get("phase", "").lower(), _OTHER)
        times[phase] += part[at] * deployment.gpu_count // (engines * len(ranks[instance]))
    return times


def _tokens(
    deltas: Iterable[CounterDelta], ran: Mapping[int, Sequence[int]], edges: Sequence[datetime]
) -> dict[str, Claimed]:
    counted = Counted()
    for delta in deltas:
        is_tokens = delta.metric not in (STEPS, PHASE_SECONDS) and is_worked_on(delta)
        if is_tokens and edges[0] < delta.until <= edges[-1]:
            counted.add(delta)
    uncached, cached, output = (sum(cell[n] for cell in ran.values()) for n in range(3))
    return {
        "input": Claimed(counted.side(INPUT), uncached + cached),
        "output": Claimed(counted.side(OUTPUT), output),
    }
