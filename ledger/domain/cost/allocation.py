"""Turns the energy and hardware cost of one deployment in one window into lines that add up to it.

Invariant: in mJ and in 1e-12 of the currency, usage + idle + unattributed + unclaimed equals what
came in, with measured and estimated energy apart. What is not idle of a slot's energy goes to what
ran in that slot.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from ledger.domain.apportion import amount_of, apportion, units_of
from ledger.domain.apportion_columns import Parts, apportion_columns
from ledger.domain.cost.kinds import NO_KINDS, KindSums, split_kinds
from ledger.domain.cost.share import ENERGIES, SHARES, Share
from ledger.domain.cost.slot_energy import CutEnergy, EnergyInput, Site, UsedGpus, energy_of_slots
from ledger.domain.cost.slots import SlotWork
from ledger.domain.cost.taken import KeyShares, nothing_taken, taken_together
from ledger.domain.energy.facility import uplift
from ledger.domain.energy.tariff import energy_cost
from ledger.domain.period import Period


@dataclass(frozen=True, slots=True)
class WindowAllocation:
    """What a window's work took by usage key; what was idle, its two pools, and the energy nobody
    priced, in mJ. `kinds` is what tokens of each kind took of usage."""

    taken: KeyShares
    idle: Share
    electricity_pool: Decimal
    gpu_pool: Decimal
    unpriced_mj: int
    busy_s: int
    engines: int = 1
    kinds: KindSums = NO_KINDS


def allocate_window(
    window: Period,
    *,
    energy: EnergyInput | None,
    work: SlotWork,
    gpu_cost: Decimal,
    used: UsedGpus | None = None,
) -> WindowAllocation:
    """Lines of one deployment and window: usage by key, then idle, then unattributed.

    `energy` None is an unmetered or all-in lease: no electricity of ours. `gpu_cost` is the whole
    hardware cost of the window; `used` is what of both is its own where others used its GPUs too.
    What ran and weighs nothing is unattributed, and what engines
    counted beyond all requests is unclaimed.
    """
    if used is None:
        busy_costs: Sequence[int] = work.covered_us
        busy_cost, idle_cost = _at_work(units_of(gpu_cost), work)
        cuts: Iterable[CutEnergy] = energy_of_slots(window, energy, work) if energy else ()
    else:
        busy_costs, busy_cost, idle_cost = used.busy_costs, sum(used.busy_costs), used.idle_cost
        cuts = used.cuts
    idle = Share(gpu_cost=idle_cost)
    taking = _Taking(work, KindSums(work.tokens))
    taking.add(Share(gpu_cost=busy_cost), busy_costs)
    electricity, unpriced = 0, 0
    for cut in cuts:
        assert energy is not None
        price, whole = cut.price_per_mwh, Share(*cut.whole)
        busy, rest = _priced((whole, Share(*cut.idle)), energy.site, price)
        taking.add(busy, cut.pools)
        idle += rest
        electricity += sum(each.device_cost + each.overhead_cost for each in (busy, rest))
        if price is None:
            unpriced += sum(sum(share.parts()[:4]) for share in (busy, rest))
    return WindowAllocation(
        taking.taken(),
        idle,
        amount_of(electricity),
        gpu_cost,
        unpriced_mj=unpriced,
        busy_s=work.busy_s,
        engines=work.engines,
        kinds=taking.kinds,
    )


def _at_work(cost: int, work: SlotWork) -> list[int]:
    """Of a cost what falls on time in which anything ran, and on rest."""
    covered_us = sum(work.covered_us)
    return apportion(cost, [covered_us, work.full_us * len(work.covered_us) - covered_us])


def together(parts: Sequence[WindowAllocation]) -> WindowAllocation:
    """Engines of one deployment, each with its own energy and cost, as one: sums, and busy seconds
    in the mean of the engines."""
    first, *rest = parts
    if not rest:
        return first
    engines = sum(part.engines for part in parts)
    return WindowAllocation(
        taken_together([part.taken for part in parts]),
        sum((part.idle for part in parts), Share()),
        amount_of(sum(units_of(part.electricity_pool) for part in parts)),
        amount_of(sum(units_of(part.gpu_pool) for part in parts)),
        unpriced_mj=sum(part.unpriced_mj for part in parts),
        busy_s=sum(part.busy_s * part.engines for part in parts) // engines,
        engines=engines,
        kinds=sum((part.kinds for part in parts), NO_KINDS),
    )


@dataclass(slots=True)
class _Taking:
    """What each key, and tokens of each kind, take of what was used while anything ran."""

    work: SlotWork
    kinds: KindSums
    parts: list[Parts] = field(default_factory=list)

    def add(self, busy: Share, pools: Sequence[int]) -> None:
        """Split what lies in the slots as these pools do, by what weighs in each."""
        if not any(busy.parts()):
            return
        pools = pools if any(pools) else self.work.covered_us
        parts = apportion_columns(busy.parts(), self.work.weigh_by(pools))
        self.parts.append(parts)
        others = parts[:, ~self.work.used].sum(axis=1).tolist()
        taken = [whole - part for whole, part in zip(busy.parts(), others, strict=True)]
        energy_mj, cost = sum(taken[: len(ENERGIES)]), sum(taken[len(ENERGIES) :])
        self.kinds += split_kinds(energy_mj, cost, self.work.kinds_by(pools))

    def taken(self) -> KeyShares:
        """All of it by key; keys that had tokens and took nothing are among it."""
        there = self.work.worked | self.work.weighs if self.parts else self.work.worked
        if not there.any():
            # Most windows are at rest.
            return nothing_taken()
        shares = sum(self.parts, np.zeros((len(SHARES), there.size), np.int64))
        return KeyShares(self.work.keys[there], shares[:, there])


def _priced(parts: Sequence[Share], site: Site, price: Decimal | None) -> tuple[Share, Share]:
    busy, idle = parts
    device = [share.metered_mj + share.estimated_mj for share in parts]
    hosts = [share.host_mj for share in parts]
    facility = uplift(sum(device), sum(hosts), site.pue)
    if facility.total_mj == 0:
        return busy, idle
    at_it = [board_mj + host_mj for board_mj, host_mj in zip(device, hosts, strict=True)]
    overhead = apportion(facility.overhead_mj, at_it)
    pool = units_of(energy_cost(facility.total_mj, price)) if price is not None else 0
    uplifted = [host + over for host, over in zip(hosts, overhead, strict=True)]
    costs = apportion(pool, [device[0], uplifted[0], device[1], uplifted[1]])
    return (
        busy + Share(overhead_mj=overhead[0], device_cost=costs[0], overhead_cost=costs[1]),
        idle + Share(overhead_mj=overhead[1], device_cost=costs[2], overhead_cost=costs[3]),
    )
