"""Reads what a deployment's meters and engines showed of some time, stretch by stretch, to fit by.

Stretches begin and end where an engine's counters were read, so that its steps are whole numbers;
only those count whose energy was measured all along, and whose steps are certain.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from ledger.domain.cost.calibration import Claimed, Slot
from ledger.domain.cost.cells import cells_of
from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.cost.window_cost import WindowFacts, claimed
from ledger.domain.energy.calibration import calibrated
from ledger.domain.energy.counter_course import NEAR
from ledger.domain.energy.meter import energy_between, spans
from ledger.domain.metering.engine_counter import CounterDelta, counter_deltas
from ledger.domain.metering.reconcile import INPUT, METRICS, OUTPUT, Counted
from ledger.domain.metering.times import micros
from ledger.domain.period import WINDOW, Period, windows
from ledger.store.cost.work import Work, read_work
from ledger.store.energy import meter
from ledger.store.queries import Connection

STEPS = "steps"
_WORK = ("uncached", "cache_read", "output", "context", "covered_us")


@dataclass(frozen=True, slots=True)
class DeploymentSlots:
    """Stretches of a deployment's time in their order, and the tokens that its engines counted in
    it beside those that events claim."""

    slots: Sequence[Slot]
    tokens: Mapping[str, Claimed]


async def read_slots(
    connection: Connection,
    factory: Factory,
    deployment: Deployment,
    period: Period,
    batch_seq: int,
) -> DeploymentSlots:
    """What a deployment did in whole windows, as known at a cut-off; in one snapshot."""
    counted = await _read_counters(connection, deployment, period, batch_seq)
    edges = _edges(counted, deployment, period)
    work = await read_work(connection, list(windows(period)), batch_seq)
    ran = _work(factory, deployment, work, edges)
    energy = await _read_energy(connection, factory, deployment, edges, batch_seq)
    steps = _Steps.of(counted, [micros(edge) for edge in edges])
    slots = [
        slot
        for number, slot in enumerate(_slots(deployment, edges, energy, ran, steps))
        if slot is not None and (steps.known[number] or not any(steps.known))
    ]
    return DeploymentSlots(slots, _tokens(counted, ran, edges))


async def _read_counters(
    connection: Connection, deployment: Deployment, period: Period, batch_seq: int
) -> list[CounterDelta]:
    deltas: list[CounterDelta] = []
    for instance in deployment.engine_instances:
        samples = await meter.find_engine_counters(
            connection,
            engine_instance=instance,
            metrics=(STEPS, *METRICS),
            since=period.start,
            until=period.end,
            batch_seq=batch_seq,
        )
        deltas += counter_deltas(samples)
    return deltas


def _edges(
    counted: Iterable[CounterDelta], deployment: Deployment, period: Period
) -> list[datetime]:
    """Where an engine's steps were read, a slot's length apart or more; slots where nobody did."""
    length, edges = timedelta(seconds=deployment.slot_s), [period.start]
    of_steps = [delta for delta in counted if delta.metric == STEPS]
    first = min((delta.instance for delta in of_steps), default=None)
    read = {delta.until for delta in of_steps if delta.instance == first}
    even = (period.start + length * n for n in range(1, (period.end - period.start) // length + 1))
    for moment in sorted(read) if read else even:
        if moment - edges[-1] >= length and moment <= period.end:
            edges.append(moment)
    return edges


@dataclass(slots=True)
class _Steps:
    """Steps of all engines in each stretch, and whether every one of them is certain there."""

    counts: list[int]
    known: list[bool] = field(default_factory=list)

    @classmethod
    def of(cls, deltas: Iterable[CounterDelta], marks: Sequence[int]) -> "_Steps":
        """Each counter's growth evenly over the time between two of its readings."""
        steps = cls([0] * (len(marks) - 1))
        streams: dict[tuple[object, ...], list[int]] = {}
        for delta in deltas:
            if delta.metric == STEPS:
                known = streams.setdefault((delta.instance, delta.labels), [0] * (len(marks) - 1))
                steps._pour(delta, marks, known)
        steps.known = [
            bool(streams) and all(of[at] == marks[at + 1] - marks[at] for of in streams.values())
            for at in range(len(marks) - 1)
        ]
        return steps

    def _pour(self, delta: CounterDelta, marks: Sequence[int], known: list[int]) -> None:
        since, until, grown = micros(delta.since), micros(delta.until), int(delta.delta)
        at = max(bisect_right(marks, since) - 1, 0)
        while at < len(self.counts) and marks[at] < until:
            first, last = max(marks[at], since), min(marks[at + 1], until)
            if first < last:
                upto = [grown * (edge - since) // (until - since) for edge in (last, first)]
                self.counts[at] += upto[0] - upto[1]
                known[at] += last - first if not delta.flag or delta.flag == "start_moved" else 0
            at += 1


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
        ran = claimed(deployed, facts).get(deployment.deployment_id)
        if ran is None:
            continue
        first = bisect_right(marks, own[0]) - 1
        for cell, *parts in _cells(deployment, ran, own).iter_rows():
            before = summed.get(first + cell, [0] * len(_WORK))
            summed[first + cell] = [a + b for a, b in zip(before, parts, strict=True)]
    return summed


def _cells(deployment: Deployment, ran: pl.DataFrame, marks: Sequence[int]) -> pl.DataFrame:
    numbers = {name: n for n, name in enumerate(_engines(deployment, ran["instance"]))}
    engine = pl.col("instance").replace_strict(numbers, return_dtype=pl.Int64)
    return cells_of(ran.with_columns(engine=engine), marks).select("cell", *_WORK)


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
    edges: Sequence[datetime],
    energy: Sequence[int | None],
    ran: Mapping[int, Sequence[int]],
    steps: _Steps,
) -> Iterator[Slot | None]:
    engines = max(len(deployment.engine_instances), 1)
    for at, energy_mj in enumerate(energy):
        uncached, cached, output, context, covered_us = ran.get(at, (0,) * len(_WORK))
        length_us = (edges[at + 1] - edges[at]) // timedelta(microseconds=1)
        rest_us = (length_us * engines - covered_us) * deployment.gpu_count // engines
        counted = steps.counts[at] if any(steps.known) else None
        is_idle = not covered_us and not counted
        yield (
            Slot(energy_mj, rest_us, is_idle, uncached, cached, output, context, counted)
            if energy_mj
            else None
        )


def _tokens(
    deltas: Iterable[CounterDelta], ran: Mapping[int, Sequence[int]], edges: Sequence[datetime]
) -> dict[str, Claimed]:
    counted = Counted()
    for delta in deltas:
        if delta.metric != STEPS and edges[0] < delta.until <= edges[-1]:
            counted.add(delta)
    uncached, cached, output = (sum(cell[n] for cell in ran.values()) for n in range(3))
    return {
        "input": Claimed(counted.side(INPUT), uncached + cached),
        "output": Claimed(counted.side(OUTPUT), output),
    }
