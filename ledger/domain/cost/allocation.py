"""Turns the energy and hardware cost of one deployment in one window into lines that add up to it.

Invariant: in mJ and in 1e-12 of the currency, usage + idle + unattributed equals what came in, with
measured and estimated energy apart. A second is idle where no attempt covers it, and energy is
split between busy and idle by what was used at those seconds.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from ledger.domain.apportion import amount_of, apportion, cumulative_split, units_of
from ledger.domain.cost.site_meters import HostShare
from ledger.domain.energy.counter_course import microseconds
from ledger.domain.energy.facility import host_energy_mj, uplift
from ledger.domain.energy.meter import Span, energy_between
from ledger.domain.energy.tariff import TariffCut, energy_cost
from ledger.domain.metering.busy import busy_seconds, runs
from ledger.domain.money import EXACT
from ledger.domain.period import WINDOW_SECONDS, Period, intersect

USAGE, IDLE, UNATTRIBUTED = "usage", "idle", "unattributed"


@dataclass(frozen=True, slots=True)
class Weights:
    """How much of a busy window each kind of token takes: declared, versioned, whole numbers."""

    version: int = 1
    uncached: int = 1
    cache_read: int = 0
    cache_write: int = 1
    output: int = 5


@dataclass(frozen=True, slots=True)
class EngineActivity:
    """Tokens of one usage key that one deployment worked on in a window."""

    usage_key_id: int
    uncached: int
    cache_read: int
    cache_write: int
    output: int

    def weight(self, weights: Weights) -> int:
        """Its claim on the busy part."""
        return (
            self.uncached * weights.uncached
            + self.cache_read * weights.cache_read
            + self.cache_write * weights.cache_write
            + self.output * weights.output
        )


@dataclass(frozen=True, slots=True)
class Site:
    """What stands around the GPUs: host power in mW for all of them together, and the PUE."""

    host_mw: int = 0
    pue: Decimal = Decimal(1)
    hosts: Sequence[HostShare] = ()


@dataclass(frozen=True, slots=True)
class EnergyInput:
    """What is known of a window's energy: spans of each metered GPU, and prices that cover it."""

    gpu_spans: Sequence[Sequence[Span]]
    cuts: Sequence[TariffCut]
    site: Site


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

    def split(self, weights: Sequence[int]) -> list["Share"]:
        """Largest remainder on each of the numbers; ties to the earlier position."""
        columns = [apportion(part, weights) for part in self.parts()]
        return [Share(*row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class AllocationLine:
    """One line: an attempt's key, idle, or unattributed; costs are decimals at scale twelve."""

    line: str
    usage_key_id: int
    device_metered_mj: int
    device_estimated_mj: int
    host_mj: int
    overhead_mj: int
    device_cost: Decimal
    overhead_cost: Decimal
    gpu_cost: Decimal

    @property
    def electricity_cost(self) -> Decimal:
        """Device and uplift together."""
        return EXACT.add(self.device_cost, self.overhead_cost)


@dataclass(frozen=True, slots=True)
class WindowAllocation:
    """The lines of a window, its two pools, and the energy nobody priced, in mJ."""

    lines: tuple[AllocationLine, ...]
    electricity_pool: Decimal
    gpu_pool: Decimal
    unpriced_mj: int
    busy_s: int


def allocate_window(
    window: Period,
    *,
    energy: EnergyInput | None,
    mask: int,
    activity: Sequence[EngineActivity],
    weights: Weights,
    gpu_cost: Decimal,
) -> WindowAllocation:
    """Lines of one deployment and window: usage by key, then idle, then unattributed.

    `energy` None is an unmetered or all-in lease: no electricity of ours. `gpu_cost` is the whole
    hardware cost of the window. A busy part whose tokens weigh nothing is unattributed.
    """
    busy, idle, unpriced = Share(), Share(), 0
    if energy is not None:
        busy, idle, unpriced = _energy_shares(window, energy, mask)
    electricity = sum(share.device_cost + share.overhead_cost for share in (busy, idle))
    busy_s = busy_seconds(mask)
    busy_cost, idle_cost = apportion(units_of(gpu_cost), [busy_s, WINDOW_SECONDS - busy_s])
    lines = _lines(
        busy + Share(gpu_cost=busy_cost), idle + Share(gpu_cost=idle_cost), activity, weights
    )
    return WindowAllocation(
        tuple(lines), amount_of(electricity), gpu_cost, unpriced_mj=unpriced, busy_s=busy_s
    )


def _energy_shares(window: Period, energy: EnergyInput, mask: int) -> tuple[Share, Share, int]:
    cells = list(_cells(window, energy.cuts, mask))
    raw = _measure(cells, energy)
    busy, idle, unpriced = Share(), Share(), 0
    for number, cut in enumerate(energy.cuts):
        priced = _priced((raw[number, True], raw[number, False]), energy.site, cut.price_per_mwh)
        busy, idle = busy + priced[0], idle + priced[1]
        if cut.price_per_mwh is None:
            unpriced += sum(sum(share.parts()[:4]) for share in priced)
    return busy, idle, unpriced


def _cells(
    window: Period, cuts: Sequence[TariffCut], mask: int
) -> Iterator[tuple[Period, tuple[int, bool]]]:
    """The window cut where work starts or stops and where the price changes, in time order."""
    stretches = [
        (Period(window.start + timedelta(seconds=first), window.start + timedelta(seconds=end)), on)
        for first, end, on in runs(mask)
    ]
    for number, cut in enumerate(cuts):
        for stretch, on in stretches:
            part = intersect(stretch, cut.period)
            if part is not None:
                yield part, (number, on)


def _measure(
    cells: Sequence[tuple[Period, tuple[int, bool]]], energy: EnergyInput
) -> dict[tuple[int, bool], Share]:
    found: dict[tuple[int, bool], Share] = defaultdict(Share)
    edges = [cells[0][0].start, *(part.end for part, _ in cells)]
    for (_, where), host_mj in zip(cells, _host_parts(energy.site, edges), strict=True):
        found[where] += Share(host_mj=host_mj)
    for spans in energy.gpu_spans:
        for (_, where), slice_ in zip(cells, energy_between(spans, edges), strict=True):
            found[where] += Share(slice_.metered_mj, slice_.estimated_mj)
    return found


def _host_parts(site: Site, edges: Sequence[datetime]) -> list[int]:
    """Host energy between neighbouring edges; all of it, wherever work or prices cut the window."""
    marks = [microseconds(edge) for edge in edges]
    whole_mj = host_energy_mj(site.host_mw, Period(edges[0], edges[-1]).seconds)
    parts = cumulative_split(whole_mj, start=marks[0], end=marks[-1], edges=marks)
    for host in site.hosts:
        measured = energy_between(host.spans, edges)
        parts = [mj + host.part_of(one.total_mj) for mj, one in zip(parts, measured, strict=True)]
    return parts


def _priced(parts: Sequence[Share], site: Site, price: Decimal | None) -> tuple[Share, Share]:
    busy, idle = parts
    device = [share.metered_mj + share.estimated_mj for share in parts]
    hosts = [share.host_mj for share in parts]
    facility = uplift(sum(device), sum(hosts), site.pue)
    if facility.total_mj == 0:
        return busy, idle
    at_it = [one + other for one, other in zip(device, hosts, strict=True)]
    overhead = apportion(facility.overhead_mj, at_it)
    pool = units_of(energy_cost(facility.total_mj, price)) if price is not None else 0
    uplifted = [host + over for host, over in zip(hosts, overhead, strict=True)]
    costs = apportion(pool, [device[0], uplifted[0], device[1], uplifted[1]])
    return (
        busy + Share(overhead_mj=overhead[0], device_cost=costs[0], overhead_cost=costs[1]),
        idle + Share(overhead_mj=overhead[1], device_cost=costs[2], overhead_cost=costs[3]),
    )


def _lines(
    busy: Share, idle: Share, activity: Sequence[EngineActivity], weights: Weights
) -> list[AllocationLine]:
    ordered = sorted(activity, key=lambda a: a.usage_key_id)
    weighed = [one.weight(weights) for one in ordered]
    lines: list[AllocationLine] = []
    nobody = busy
    if sum(weighed) > 0:
        shares = busy.split(weighed)
        lines = [_line(USAGE, a.usage_key_id, s) for a, s in zip(ordered, shares, strict=True)]
        nobody = Share()
    lines.append(_line(IDLE, 0, idle))
    lines.append(_line(UNATTRIBUTED, 0, nobody))
    return [line for line in lines if line.line == USAGE or _holds(line)]


def _line(name: str, usage_key_id: int, share: Share) -> AllocationLine:
    return AllocationLine(
        line=name,
        usage_key_id=usage_key_id,
        device_metered_mj=share.metered_mj,
        device_estimated_mj=share.estimated_mj,
        host_mj=share.host_mj,
        overhead_mj=share.overhead_mj,
        device_cost=amount_of(share.device_cost),
        overhead_cost=amount_of(share.overhead_cost),
        gpu_cost=amount_of(share.gpu_cost),
    )


def _holds(line: AllocationLine) -> bool:
    energy = line.device_metered_mj + line.device_estimated_mj + line.host_mj + line.overhead_mj
    return bool(energy or line.device_cost or line.overhead_cost or line.gpu_cost)
