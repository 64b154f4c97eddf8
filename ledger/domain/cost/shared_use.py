"""Splits what a GPU takes that several engines use by turns, by what ran on it.

Invariant: what each has of a GPU comes to the GPU's energy, metered and estimated apart, and to its
hardware cost. It is idle while none of them runs anything: that goes by their parts of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TypeVar

import numpy as np
import polars as pl

from ledger.domain.apportion import apportion
from ledger.domain.cost.attempt_rows import ATTEMPT
from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.cost.cells import cells_of
from ledger.domain.cost.deployment import BY_WEIGHTS, Deployment
from ledger.domain.cost.slot_energy import CutEnergy, EnergyInput, UsedGpus, energy_of_slots
from ledger.domain.cost.slots import Ran, SlotWork, idle, steps_between, weigh
from ledger.domain.cost.weights import NO_WEIGHTS, Weights
from ledger.domain.metering.times import micros
from ledger.domain.period import WINDOW_SECONDS, Period

T = TypeVar("T")
_NONE = (0, 0, 0)
_THOUSAND = 1_000


@dataclass(frozen=True, slots=True)
class GpuUser:
    """An engine on a GPU that others use too: of which deployment, what it ran, and what that
    weighs slot by slot."""

    deployment: Deployment
    served: pl.DataFrame | None
    work: SlotWork


def use_of_gpu(
    window: Period, energy: EnergyInput | None, hardware: int, users: Sequence[GpuUser]
) -> list[UsedGpus]:
    """What each of those who use a GPU has of its energy in a window, and of its `hardware` cost in
    1e-12 of the currency."""
    slot_s = users[0].deployment.slot_s
    covered = _covered_together(users, window, slot_s)
    weights = _weights(users, window, slot_s)
    parts = [user.deployment.gpu_parts for user in users]
    at_rest = WINDOW_SECONDS * SECOND_US - sum(covered)
    *busy, idle_cost = apportion(hardware, [*covered, at_rest])
    costs = _by_user(_split(cost, of_slot) for cost, of_slot in zip(busy, weights, strict=True))
    rests = apportion(idle_cost, parts)
    work = replace(idle(), slot_s=slot_s, covered_us=covered)
    cuts = list(energy_of_slots(window, energy, work)) if energy is not None else []
    energies = [_split_cut(cut, weights, parts) for cut in cuts]
    return [
        UsedGpus([each[n] for each in energies], costs[n], rest) for n, rest in enumerate(rests)
    ]


def used_together(used: Iterable[UsedGpus]) -> UsedGpus:
    """What an engine has of several GPUs."""
    some = list(used)
    columns = zip_longest(*(each.cuts for each in some))
    cuts = [_cuts_together([cut for cut in of_price if cut]) for of_price in columns]
    costs = [sum(slot) for slot in zip_longest(*(each.busy_costs for each in some), fillvalue=0)]
    return UsedGpus(cuts, costs, sum(each.idle_cost for each in some))


def _cuts_together(cuts: Sequence[CutEnergy]) -> CutEnergy:
    busy = np.sum([cut.busy for cut in cuts], axis=0)
    return CutEnergy(cuts[0].price_per_mwh, busy, _plus([cut.idle for cut in cuts]))


def _plus(threes: Iterable[tuple[int, int, int]]) -> tuple[int, int, int]:
    metered, estimated, host = (sum(column) for column in zip(*threes, strict=True))
    return metered, estimated, host


def _split_cut(
    cut: CutEnergy, weights: Sequence[Sequence[int]], parts: Sequence[int]
) -> list[CutEnergy]:
    slots = zip(cut.busy.T.tolist(), weights, strict=True)
    busy = _by_user(_three(used, of_slot) for used, of_slot in slots)
    rests = _three(cut.idle, parts)
    return [
        CutEnergy(cut.price_per_mwh, np.array(own, object).T, rest)
        for own, rest in zip(busy, rests, strict=True)
    ]


def _three(used: tuple[int, int, int], weights: Sequence[int]) -> list[tuple[int, int, int]]:
    if not any(used):
        return [_NONE] * len(weights)
    columns = [_split(part, weights) for part in used]
    return [(metered, estimated, host) for metered, estimated, host in zip(*columns, strict=True)]


def _split(whole: int, weights: Sequence[int]) -> list[int]:
    return apportion(whole, weights) if whole else [0] * len(weights)


def _by_user(slots: Iterable[Sequence[T]]) -> list[list[T]]:
    return [list(of_user) for of_user in zip(*slots, strict=True)]


def _covered_together(users: Sequence[GpuUser], window: Period, slot_s: int) -> list[int]:
    """How long anybody ran anything in each slot."""
    ran = [user.served.select(*ATTEMPT) for user in users if user.served is not None]
    if not ran:
        return [0] * (WINDOW_SECONDS // slot_s)
    alike = pl.concat(ran).with_columns(engine=pl.lit(0, pl.Int64))
    work = weigh(Ran.of_frame(alike, micros(window.start)), NO_WEIGHTS, slot_s=slot_s)
    return _of_slots(work, slot_s)


def _weights(users: Sequence[GpuUser], window: Period, slot_s: int) -> list[list[int]]:
    """What each weighs of each slot, slot by slot: what its work takes where all weights are
    microjoules, and else, or where nothing weighs anything, for how long it ran. Who has no time
    of a slot has none of it."""
    times = [_of_slots(user.work, slot_s) for user in users]
    by_work = users[0].deployment.gpu_split == BY_WEIGHTS
    taken = [_taken(user, window, slot_s) for user in users] if by_work else times
    slots: list[list[int]] = []
    for ran, weighs in zip(zip(*times, strict=True), zip(*taken, strict=True), strict=True):
        there = [weight if time else 0 for time, weight in zip(ran, weighs, strict=True)]
        slots.append(there if any(there) else list(ran) if any(ran) else [1] * len(ran))
    return slots


def _of_slots(work: SlotWork, slot_s: int) -> list[int]:
    slots = WINDOW_SECONDS // slot_s
    return list(work.covered_us) if len(work.covered_us) == slots else [0] * slots


def _taken(user: GpuUser, window: Period, slot_s: int) -> list[int]:
    """What its work takes of each slot by its weights, in parts of a thousand, on each GPU."""
    slots = WINDOW_SECONDS // slot_s
    if user.served is None:
        return [0] * slots
    since, gpus = micros(window.start), len(user.deployment.gpu_uuids)
    marks = [since + n * slot_s * SECOND_US for n in range(slots + 1)]
    ran = user.served.with_columns(engine=pl.lit(0, pl.Int64))
    steps = [sum(both) for both in steps_between(ran, since, marks, user.deployment.prefill_chunk)]
    law, taken = user.deployment.weights, [0] * slots
    for cell, *work in cells_of(ran, marks).drop("covered_us").iter_rows():
        taken[cell] = max(_by_law(law, steps[cell], *work), 0) // gpus
    return taken


def _by_law(law: Weights, steps: int, uncached: int, cached: int, output: int, looked: int) -> int:
    whole = law.uncached * uncached + law.cache_read * cached + law.output * output
    return (whole + law.step * steps) * _THOUSAND + law.context * looked
