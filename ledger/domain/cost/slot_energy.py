"""Tells what engines used at rest from what they used while anything ran, slot by slot of a window.

Invariant: busy and at rest come to what the boards and their hosts used, measured and estimated
apart. An engine is idle while no attempt runs on it: then it takes what it takes at rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

from ledger.domain.apportion import apportion, cumulative_split
from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.cost.site_meters import HostShare
from ledger.domain.cost.slots import SlotWork
from ledger.domain.energy.counter_course import microseconds
from ledger.domain.energy.facility import host_energy_mj
from ledger.domain.energy.gpu_part import drawn_columns
from ledger.domain.energy.meter import EnergyColumns, Span, energy_columns
from ledger.domain.energy.tariff import TariffCut
from ledger.domain.period import Period

# Metered, estimated and of hosts, in mJ.
Three: TypeAlias = tuple[int, int, int]
_NONE: Three = (0, 0, 0)


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
class UsedGpus:
    """What an engine has of GPUs that others use too: by price of their energy, and of their
    hardware cost, in 1e-12 of the currency, in each slot while anything ran, and at rest."""

    cuts: Sequence["CutEnergy"]
    busy_costs: Sequence[int]
    idle_cost: int


class _Cell(NamedTuple):
    """A part of a slot at one price, each by its number, and how long it is."""

    cut: int
    slot: int
    length_us: int


@dataclass(frozen=True, slots=True)
class CutEnergy:
    """What was used at one price: in each slot while anything ran, and at rest in all of them."""

    price_per_mwh: Decimal | None
    busy: Sequence[Three]
    idle: Three

    @property
    def pools(self) -> list[int]:
        """What each slot used while anything ran, in mJ."""
        return [sum(three) for three in self.busy]


def energy_of_slots(window: Period, energy: EnergyInput, work: SlotWork) -> Iterator[CutEnergy]:
    """By price: what lies in each slot of the window, nothing where the price is of other times."""
    start_us = microseconds(window.start)
    edges = tuple(
        (microseconds(cut.period.start) - start_us, microseconds(cut.period.end) - start_us)
        for cut in energy.cuts
    )
    cells = _cells(edges, work.slot_s * SECOND_US)
    marks = [*accumulate((cell.length_us for cell in cells), initial=start_us)]
    boards = [drawn_columns(spans, marks) for spans in energy.gpu_spans]
    metered, estimated = (
        _sums([board.metered_mj for board in boards], len(cells)),
        _sums([board.estimated_mj for board in boards], len(cells)),
    )
    used = list(zip(metered, estimated, _host_parts(energy.site, marks), strict=True))
    resting = _Resting(work, _idle_mw(energy, boards, cells, work), energy.idle_mw is not None)
    for number, cut in enumerate(energy.cuts):
        busy, rests = [_NONE] * len(work.covered_us), []
        for cell, of_cell in zip(cells, used, strict=True):
            if cell.cut == number:
                busy[cell.slot], rest = resting.split(cell, of_cell)
                rests.append(rest)
        idle = _sum(rests)
        if energy.idle_mw is not None:
            busy, over = _beside(busy, work)
            idle = _plus(idle, over)
        yield CutEnergy(cut.price_per_mwh, busy, idle)


def _sums(columns: Sequence[Sequence[int]], size: int) -> list[int]:
    return [sum(row) for row in zip(*columns, strict=True)] or [0] * size


def _sum(threes: Sequence[Three]) -> Three:
    metered, estimated, host = map(sum, zip(_NONE, *threes, strict=True))
    return metered, estimated, host


def _plus(some: Three, more: Three) -> Three:
    return some[0] + more[0], some[1] + more[1], some[2] + more[2]


@lru_cache(maxsize=256)
def _cells(cuts: Sequence[tuple[int, int]], slot_us: int) -> Sequence[_Cell]:
    """The window cut into slots and where the price changes, in time order: the same for most
    windows and deployments."""
    cells = []
    for number, (since, end) in enumerate(cuts):
        at = since
        while at < end:
            slot = at // slot_us
            until = min((slot + 1) * slot_us, end)
            cells.append(_Cell(number, slot, until - at))
            at = until
    return cells


def _idle_mw(
    energy: EnergyInput, boards: Sequence[EnergyColumns], cells: Sequence[_Cell], work: SlotWork
) -> int | None:
    """Power at rest: as declared, else the least that one of the GPUs drew over a whole slot."""
    if energy.idle_mw is not None:
        return energy.idle_mw
    whole_us = work.slot_s * SECOND_US
    whole = [at for at, cell in enumerate(cells) if cell.length_us == whole_us]
    seen = [
        board.metered_mj[at] + board.estimated_mj[at]
        for board in boards
        for at in whole
        if board.covered_us[at] == whole_us
    ]
    return min(seen) * len(boards) // work.slot_s if seen else None


def _beside(busy: Sequence[Three], work: SlotWork) -> tuple[list[Three], Three]:
    """A meter read now and then tells of work in the slots beside: what a slot without any used
    above rest goes to that, else it is at rest too."""
    shared, over = list(busy), _NONE
    for at, used in enumerate(busy):
        if not any(used) or work.covered_us[at]:
            continue
        near = [n for n in (at - 1, at + 1) if 0 <= n < len(busy) and work.covered_us[n]]
        weights = [sum(busy[n]) for n in near]
        shared[at] = _NONE
        if not any(weights):
            over = _plus(over, used)
            continue
        parts = [apportion(part, weights) for part in used]
        for n, metered, estimated, host in zip(near, *parts, strict=True):
            shared[n] = _plus(shared[n], (metered, estimated, host))
    return shared, over


@dataclass(frozen=True, slots=True)
class _Resting:
    """Tells what engines used at rest from what they used while anything ran."""

    work: SlotWork
    idle_mw: int | None
    declared: bool

    def split(self, cell: _Cell, used: Three) -> tuple[Three, Three]:
        """What a part of a slot used while anything ran, and at rest."""
        metered, estimated, host = used
        whole, full = metered + estimated, self.work.full_us
        rest = full - self.work.covered_us[cell.slot]
        idle_mj = whole * rest // full
        if self.idle_mw is not None and (0 < rest < full or self.declared):
            floor_mj = self.idle_mw * cell.length_us * rest // (full * SECOND_US)
            idle_mj = min(floor_mj, whole)
        if estimated and idle_mj:
            of_metered, of_estimated = apportion(idle_mj, (metered, estimated))
        else:
            of_metered, of_estimated = idle_mj, 0
        of_host = host * rest // full
        busy = metered - of_metered, estimated - of_estimated, host - of_host
        return busy, (of_metered, of_estimated, of_host)


def _host_parts(site: Site, marks: Sequence[int]) -> list[int]:
    """Host energy between neighbouring edges; all of it, wherever work or prices cut the window."""
    seconds = (marks[-1] - marks[0]) // SECOND_US
    whole_mj = host_energy_mj(site.host_mw, seconds)
    parts = [0] * (len(marks) - 1)
    if whole_mj:
        parts = cumulative_split(whole_mj, start=marks[0], end=marks[-1], edges=marks)
    for host in site.hosts:
        measured = energy_columns(host.spans, marks)
        totals = map(sum, zip(measured.metered_mj, measured.estimated_mj, strict=True))
        # Of all up to an edge, so that GPUs cut by other slots add up to the same.
        shared = pairwise(host.part_of(mj) for mj in accumulate(totals, initial=0))
        parts = [mj + later - earlier for mj, (earlier, later) in zip(parts, shared, strict=True)]
    return parts
