"""Turns the energy and hardware cost of one deployment in one window into lines that add up to it.

Invariant: in mJ and in 1e-12 of the currency, usage + idle + unattributed + unclaimed equals what
came in, with measured and estimated energy apart. An engine is idle while no attempt runs on it.
Then it takes what it takes at rest, and all else of a slot's energy goes to what ran in that slot.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate, pairwise

import polars as pl

from ledger.domain.apportion import amount_of, apportion, cumulative_split, units_of
from ledger.domain.apportion_columns import apportion_column
from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.cost.kinds import NO_KINDS, KindSums, split_kinds
from ledger.domain.cost.site_meters import HostShare
from ledger.domain.cost.slots import NOBODY, OF_USAGE, SlotWork
from ledger.domain.cost.unclaimed import OF_NO_REQUEST
from ledger.domain.energy.counter_course import microseconds
from ledger.domain.energy.facility import host_energy_mj, uplift
from ledger.domain.energy.gpu_part import drawn_between
from ledger.domain.energy.meter import EnergySlice, Span, energy_between
from ledger.domain.energy.tariff import TariffCut, energy_cost
from ledger.domain.period import Period, intersect

USAGE, IDLE, UNATTRIBUTED, UNCLAIMED = "usage", "idle", "unattributed", "unclaimed"

# What a share of a window is made of: mJ, and 1e-12 of the currency.
ENERGIES = ("device_metered_mj", "device_estimated_mj", "host_mj", "overhead_mj")
COSTS = ("device_cost", "overhead_cost", "gpu_cost")
SHARES = (*ENERGIES, *COSTS)
NOTHING_TAKEN = pl.DataFrame(schema={"usage_key_id": pl.Int64, **dict.fromkeys(SHARES, pl.Int128)})


@dataclass(frozen=True, slots=True)
class Site:
    """What stands around the GPUs: host power in mW for all of them together, and the PUE."""

    host_mw: int = 0
    pue: Decimal = Decimal(1)
    hosts: Sequence[HostShare] = ()


@dataclass(frozen=True, slots=True)
class EnergyInput:
    """What is known of a window's energy: spans of each metered GPU, and prices that cover it.

    `idle_mw` is what all its GPUs draw while they hold a model and run nothing; None is unknown.
    """

    gpu_spans: Sequence[Sequence[Span]]
    cuts: Sequence[TariffCut]
    site: Site
    idle_mw: int | None = None


@dataclass(frozen=True, slots=True)
class CutEnergy:
    """What was used at one price: in each slot while anything ran, and at rest in all of them;
    metered, estimated and of hosts, in mJ."""

    price_per_mwh: Decimal | None
    busy: Sequence[tuple[int, int, int]]
    idle: tuple[int, int, int]

    @property
    def pools(self) -> list[int]:
        """What each slot used while anything ran, in mJ."""
        return [sum(three) for three in self.busy]


@dataclass(frozen=True, slots=True)
class UsedGpus:
    """What an engine has of GPUs that others use too: by price of their energy, and of their
    hardware cost, in 1e-12 of the currency, in each slot while anything ran, and at rest."""

    cuts: Sequence[CutEnergy]
    busy_costs: Sequence[int]
    idle_cost: int


@dataclass(frozen=True, slots=True)
class Share:
    """Energy in mJ and cost in 1e-12 of the currency, all integers so that they split exactly."""

    metered_mj: int = 0
    estimated_mj: int = 0
    host_mj: int = 0
    overhead_mj: int = 0
    device_cost: int = 0
    overhead_cost: int = 0
    gpu_cost: int = 0

    def parts(self) -> tuple[int, ...]:
        """The seven numbers in order."""
        return (
            self.metered_mj,
            self.estimated_mj,
            self.host_mj,
            self.overhead_mj,
            self.device_cost,
            self.overhead_cost,
            self.gpu_cost,
        )

    def __add__(self, other: "Share") -> "Share":
        return Share(*(a + b for a, b in zip(self.parts(), other.parts(), strict=True)))

    def __sub__(self, other: "Share") -> "Share":
        return Share(*(a - b for a, b in zip(self.parts(), other.parts(), strict=True)))

    def split(self, weights: Sequence[int]) -> list["Share"]:
        """Largest remainder on each of the numbers; ties to the earlier position."""
        columns = [apportion(part, weights) for part in self.parts()]
        return [Share(*row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class WindowAllocation:
    """What a window's work took by usage key, in the columns of SHARES in order of the keys, with
    NOBODY's where work had no weight, and what no request claims; what was idle, its two pools, and
    the energy nobody priced, in mJ. `kinds` is what tokens of each kind took of usage."""

    taken: pl.DataFrame
    idle: Share
    electricity_pool: Decimal
    gpu_pool: Decimal
    unpriced_mj: int
    busy_s: int
    engines: int = 1
    kinds: KindSums = NO_KINDS

    def used(self) -> pl.DataFrame:
        """Usage by key, and unattributed and unclaimed where there are any, each with its
        `line`."""
        key = pl.col("usage_key_id")
        any_of_it = pl.any_horizontal(pl.col(name) != 0 for name in SHARES)
        names = {NOBODY: UNATTRIBUTED, OF_NO_REQUEST: UNCLAIMED}
        line = key.replace_strict(names, default=USAGE, return_dtype=pl.String)
        told = self.taken.with_columns(line=line).filter((pl.col("line") == USAGE) | any_of_it)
        own = pl.when(pl.col("line") == USAGE).then(key).otherwise(NOBODY)
        return told.with_columns(usage_key_id=own)


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
    taken = _Taken(work, KindSums(work.tokens))
    taken.add(Share(gpu_cost=busy_cost), busy_costs)
    electricity, unpriced = 0, 0
    for cut in cuts:
        assert energy is not None
        price, whole = cut.price_per_mwh, Share(*map(sum, zip(*cut.busy, strict=True)))
        busy, rest = _priced((whole, Share(*cut.idle)), energy.site, price)
        taken.add(busy, cut.pools)
        idle += rest
        electricity += sum(each.device_cost + each.overhead_cost for each in (busy, rest))
        if price is None:
            unpriced += sum(sum(share.parts()[:4]) for share in (busy, rest))
    return WindowAllocation(
        taken.summed(),
        idle,
        amount_of(electricity),
        gpu_cost,
        unpriced_mj=unpriced,
        busy_s=work.busy_s,
        engines=work.engines,
        kinds=taken.kinds,
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
    taken = pl.concat([part.taken for part in parts]).group_by("usage_key_id")
    engines = sum(part.engines for part in parts)
    return WindowAllocation(
        taken.agg(pl.col(name).sum() for name in SHARES).sort("usage_key_id"),
        sum((part.idle for part in parts), Share()),
        amount_of(sum(units_of(part.electricity_pool) for part in parts)),
        amount_of(sum(units_of(part.gpu_pool) for part in parts)),
        unpriced_mj=sum(part.unpriced_mj for part in parts),
        busy_s=sum(part.busy_s * part.engines for part in parts) // engines,
        engines=engines,
        kinds=sum((part.kinds for part in parts), NO_KINDS),
    )


@dataclass(slots=True)
class _Taken:
    """What each key, and tokens of each kind, take of what was used while anything ran."""

    work: SlotWork
    kinds: KindSums
    parts: list[pl.DataFrame] = field(default_factory=list)

    def add(self, busy: Share, pools: Sequence[int]) -> None:
        """Split what lies in the slots as these pools do, by what weighs in each."""
        if not any(busy.parts()):
            return
        pools = pools if any(pools) else self.work.covered_us
        weighed = self.work.weigh_by(pools)
        split = (
            apportion_column(part, weighed["weight"]) if part else pl.lit(0, pl.Int128)
            for part in busy.parts()
        )
        columns = dict(zip(SHARES, split, strict=True))
        self.parts.append(weighed.select("usage_key_id", **columns))
        used = self.parts[-1].filter(OF_USAGE)
        energy_mj, cost = (
            sum(int(used[name].sum()) for name in names) for names in (ENERGIES, COSTS)
        )
        self.kinds += split_kinds(energy_mj, cost, self.work.kinds_by(pools))

    def summed(self) -> pl.DataFrame:
        """All of it by key, in their order; keys that had tokens and took nothing are among it."""
        if not (self.work.keys or self.parts):
            # Most windows are at rest.
            return NOTHING_TAKEN
        there = pl.DataFrame({"usage_key_id": self.work.keys}, schema={"usage_key_id": pl.Int64})
        nothing = there.with_columns(pl.lit(0, pl.Int128).alias(name) for name in SHARES)
        taken = pl.concat([nothing, *self.parts]).group_by("usage_key_id")
        return taken.agg(pl.col(name).sum() for name in SHARES).sort("usage_key_id")


@dataclass(frozen=True, slots=True)
class _Slot:
    """What a part of a slot used at one price, while anything ran and at rest."""

    busy: Share
    idle: Share

    @property
    def busy_mj(self) -> int:
        return self.busy.metered_mj + self.busy.estimated_mj + self.busy.host_mj


def energy_of_slots(window: Period, energy: EnergyInput, work: SlotWork) -> Iterator[CutEnergy]:
    """By price: what lies in each slot of the window, nothing where the price is of other times."""
    cells = list(_cells(window, energy.cuts, work.slot_s))
    edges = [window.start, *(part.end for part, _, _ in cells)]
    boards = [drawn_between(spans, edges) for spans in energy.gpu_spans]
    hosts = _host_parts(energy.site, edges)
    resting = _Resting(
        work, _idle_mw(energy, boards, cells, work.slot_s), declared=energy.idle_mw is not None
    )
    for number, cut in enumerate(energy.cuts):
        slots = [_Slot(Share(), Share())] * len(work.covered_us)
        for at, (part, of_cut, slot) in enumerate(cells):
            if of_cut == number:
                drawn = [board[at] for board in boards]
                slots[slot] = resting.split(slot, part.microseconds, drawn, hosts[at])
        yield _cut_energy(
            cut.price_per_mwh, slots if energy.idle_mw is None else _beside(slots, work)
        )


def _cut_energy(price: Decimal | None, slots: Sequence[_Slot]) -> CutEnergy:
    idle = sum((slot.idle for slot in slots), Share())
    return CutEnergy(price, [_three(slot.busy) for slot in slots], _three(idle))


def _three(share: Share) -> tuple[int, int, int]:
    return share.metered_mj, share.estimated_mj, share.host_mj


def _cells(
    window: Period, cuts: Sequence[TariffCut], slot_s: int
) -> Iterator[tuple[Period, int, int]]:
    """The window cut into slots and where the price changes, in time order: the number of the
    price, and that of the slot."""
    length = timedelta(seconds=slot_s)
    for number, cut in enumerate(cuts):
        slot = (cut.period.start - window.start) // length
        while (start := window.start + slot * length) < cut.period.end:
            part = intersect(Period(start, start + length), cut.period)
            assert part is not None
            yield part, number, slot
            slot += 1


def _idle_mw(
    energy: EnergyInput,
    boards: Sequence[Sequence[EnergySlice]],
    cells: Sequence[tuple[Period, int, int]],
    slot_s: int,
) -> int | None:
    """Power at rest: as declared, else the least that one of the GPUs drew over a whole slot."""
    if energy.idle_mw is not None:
        return energy.idle_mw
    whole_us = slot_s * SECOND_US
    seen = [
        board[at].total_mj * len(boards) // slot_s
        for at, (part, _, _) in enumerate(cells)
        for board in boards
        if part.microseconds == whole_us and board[at].covered_us == whole_us
    ]
    return min(seen, default=None)


def _beside(slots: Sequence[_Slot], work: SlotWork) -> Sequence[_Slot]:
    """A meter read now and then tells of work in the slots beside: what a slot without any used
    above rest goes to that."""
    shared = list(slots)
    for at, slot in enumerate(slots):
        near = [n for n in (at - 1, at + 1) if 0 <= n < len(slots) and work.covered_us[n]]
        weights = [slots[n].busy_mj for n in near]
        if any(slot.busy.parts()) and not work.covered_us[at]:
            parts = slot.busy.split(weights) if any(weights) else []
            for n, part in zip(near, parts, strict=False):
                shared[n] = _Slot(shared[n].busy + part, shared[n].idle)
            over = Share() if parts else slot.busy
            shared[at] = _Slot(Share(), slot.idle + over)
    return shared


@dataclass(frozen=True, slots=True)
class _Resting:
    """Tells what engines used at rest from what they used while anything ran."""

    work: SlotWork
    idle_mw: int | None
    declared: bool

    def split(self, slot: int, length_us: int, drawn: Sequence[EnergySlice], host_mj: int) -> _Slot:
        """So much of a slot, in which the boards drew this and their hosts that."""
        full = self.work.full_us
        rest = full - self.work.covered_us[slot]
        parts = (
            sum(share.metered_mj for share in drawn),
            sum(share.estimated_mj for share in drawn),
        )
        idle_mj = sum(parts) * rest // full
        if self.idle_mw is not None and (0 < rest < full or self.declared):
            floor_mj = self.idle_mw * length_us * rest // (full * SECOND_US)
            idle_mj = min(floor_mj, sum(parts))
        metered, estimated = apportion(idle_mj, parts) if idle_mj else (0, 0)
        idle = Share(metered, estimated, host_mj * rest // full)
        return _Slot(Share(*parts, host_mj) - idle, idle)


def _host_parts(site: Site, edges: Sequence[datetime]) -> list[int]:
    """Host energy between neighbouring edges; all of it, wherever work or prices cut the window."""
    marks = [microseconds(edge) for edge in edges]
    whole_mj = host_energy_mj(site.host_mw, Period(edges[0], edges[-1]).seconds)
    parts = cumulative_split(whole_mj, start=marks[0], end=marks[-1], edges=marks)
    for host in site.hosts:
        measured = energy_between(host.spans, edges)
        # Of all up to an edge, so that GPUs cut by other slots add up to the same.
        upto = accumulate((share.total_mj for share in measured), initial=0)
        shared = pairwise(host.part_of(energy_mj) for energy_mj in upto)
        parts = [mj + later - earlier for mj, (earlier, later) in zip(parts, shared, strict=True)]
    return parts


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
