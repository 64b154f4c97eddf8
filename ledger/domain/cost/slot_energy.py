"""Tells what engines used at rest from what they used while anything ran, slot by slot of a window.

Invariant: busy and at rest come to what the boards and their hosts used, measured and estimated
apart. An engine is idle while no attempt runs on it: then it takes what it takes at rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate, pairwise
from math import gcd
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.domain.apportion import apportion, cumulative_split
from ledger.domain.arrays import Ints
from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.cost.site_meters import HostShare
from ledger.domain.cost.slots import SlotWork
from ledger.domain.energy.counter_course import microseconds
from ledger.domain.energy.facility import host_energy_mj
from ledger.domain.energy.meter import EvenSpans, energy_columns
from ledger.domain.energy.part_energy import drawn_columns
from ledger.domain.energy.span import Span
from ledger.domain.energy.tariff import TariffCut
from ledger.domain.period import Period

# Metered, estimated and of hosts, in mJ.
Three: TypeAlias = tuple[int, int, int]
_NONE: Three = (0, 0, 0)
_METERED, _ESTIMATED, _HOST = range(3)
# Whole numbers, Python's own where they may be beyond 64 bits: of slots and thousands of boards
# such as are no larger than this come to less.
Columns: TypeAlias = Ints | NDArray[np.object_]
_NARROW = 1 << 44
_LARGEST = 2**63 - 1


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


@dataclass(frozen=True, slots=True, eq=False)
class CutEnergy:
    """What was used at one price: in each slot while anything ran, rows of metered, estimated and
    of hosts; and at rest in all of them."""

    price_per_mwh: Decimal | None
    busy: Columns
    idle: Three

    @property
    def pools(self) -> list[int]:
        """What each slot used while anything ran, in mJ."""
        pools: list[int] = self.busy.sum(axis=0).tolist()
        return pools

    @property
    def whole(self) -> Three:
        """What all slots used while anything ran."""
        return _summed(self.busy)


class _Cells(NamedTuple):
    """Parts of slots at one price each, in time order: the numbers of price and slot, how long each
    is, and the marks between them from the start of the window; all of whole `unit_us`."""

    cut: Ints
    slot: Ints
    length_us: Ints
    marks: Ints
    unit_us: int


def energy_of_slots(window: Period, energy: EnergyInput, work: SlotWork) -> Iterator[CutEnergy]:
    """By price: what lies in each slot of the window, nothing where the price is of other times."""
    start_us, slot_us = microseconds(window.start), work.slot_s * SECOND_US
    edges = tuple(
        (microseconds(cut.period.start) - start_us, microseconds(cut.period.end) - start_us)
        for cut in energy.cuts
    )
    cells = _cells(edges, slot_us)
    marks = cells.marks + start_us
    boards = _drawn(energy.gpu_spans, marks)
    hosts = _declared_hosts(energy.site.host_mw, edges, slot_us)
    used = np.stack([*boards[:, :2].sum(axis=0), hosts + _measured_hosts(energy.site, marks)])
    idle = _at_rest(used, cells, work, energy.idle_mw, _least_mw(boards, cells, work))
    busy = used - idle
    for number, cut in enumerate(energy.cuts):
        own = np.flatnonzero(cells.cut == number)
        of_slots = np.zeros((3, len(work.covered_us)), busy.dtype)
        of_slots[:, cells.slot[own]] = busy[:, own]
        rest = _summed(idle[:, own])
        if energy.idle_mw is not None:
            of_slots, over = _beside(of_slots, work)
            rest = _plus(rest, over)
        yield CutEnergy(cut.price_per_mwh, of_slots, rest)


def _summed(columns: Columns) -> Three:
    metered, estimated, host = columns.sum(axis=1).tolist()
    return metered, estimated, host


def _plus(some: Three, more: Three) -> Three:
    return some[0] + more[0], some[1] + more[1], some[2] + more[2]


@lru_cache(maxsize=256)
def _cells(cuts: Sequence[tuple[int, int]], slot_us: int) -> _Cells:
    """The window cut into slots and where the price changes: the same for most windows and
    deployments."""
    cells = []
    for number, (since, end) in enumerate(cuts):
        at = since
        while at < end:
            slot = at // slot_us
            until = min((slot + 1) * slot_us, end)
            cells.append((number, slot, until - at))
            at = until
    cut, slots, lengths = (np.array(column, np.int64) for column in zip(*cells, strict=True))
    marks = np.concatenate([[0], np.cumsum(lengths)])
    return _Cells(cut, slots, lengths, marks, gcd(SECOND_US, *lengths.tolist()))


def _drawn(gpu_spans: Sequence[Sequence[Span]], marks: Ints) -> Columns:
    """Of each board metered and estimated energy, and how long anything is known of it, between
    marks."""
    boards = [
        spans.columns(marks) if isinstance(spans, EvenSpans) else _narrow(spans, marks)
        for spans in gpu_spans
    ]
    narrow = all(board.dtype == np.int64 for board in boards)
    drawn = np.empty((len(boards), 3, marks.size - 1), np.int64 if narrow else object)
    for into, board in zip(drawn, boards, strict=True):
        into[:] = board
    return drawn


def _narrow(spans: Sequence[Span], marks: Ints) -> Columns:
    columns = drawn_columns(spans, marks.tolist())
    most = max((abs(each) for column in columns for each in column), default=0)
    return _numbers(columns, most)


def _numbers(columns: Sequence[Sequence[int]] | Sequence[int], most: int) -> Columns:
    return np.array(columns, np.int64) if most <= _NARROW else np.array(columns, object)


def _least_mw(boards: Columns, cells: _Cells, work: SlotWork) -> int | None:
    """The least power that one of the GPUs drew over a whole slot, of all of them."""
    whole_us = work.slot_s * SECOND_US
    seen = boards[:, :2].sum(axis=1)[(boards[:, 2] == whole_us) & (cells.length_us == whole_us)]
    return int(seen.min()) * len(boards) // work.slot_s if seen.size else None


def _beside(busy: Columns, work: SlotWork) -> tuple[Columns, Three]:
    """A meter read now and then tells of work in the slots beside: what a slot without any used
    above rest goes to that, else it is at rest too."""
    shared, over = busy.copy(), _NONE
    for at, used in enumerate(zip(*busy.tolist(), strict=True)):
        if not any(used) or work.covered_us[at]:
            continue
        near = [n for n in (at - 1, at + 1) if 0 <= n < busy.shape[1] and work.covered_us[n]]
        weights = [sum(busy[:, n].tolist()) for n in near]
        shared[:, at] = 0
        if any(weights):
            shared[:, near] += [apportion(part, weights) for part in used]
        else:
            over = _plus(over, used)
    return shared, over


def _at_rest(
    used: Columns, cells: _Cells, work: SlotWork, declared_mw: int | None, least_mw: int | None
) -> Columns:
    """What of it engines used at rest, where they draw the power that is declared, or least."""
    full, idle_mw = work.full_us, least_mw if declared_mw is None else declared_mw
    length = cells.length_us // cells.unit_us
    most = max(int(abs(used).max()), abs(idle_mw or 0) * int(length.max()))
    number: type[object] = np.int64 if most * full <= _LARGEST else object
    used, rest = used.astype(number), (full - np.array(work.covered_us)[cells.slot]).astype(number)
    whole = used[_METERED] + used[_ESTIMATED]
    idle = np.stack([whole * rest // full, np.zeros_like(whole), used[_HOST] * rest // full])
    if idle_mw is not None:
        floor_mj = idle_mw * length * rest // (full * (SECOND_US // cells.unit_us))
        at_floor = ((rest > 0) & (rest < full)) | (declared_mw is not None)
        idle[_METERED] = np.where(at_floor, np.minimum(floor_mj, whole), idle[_METERED])
    for at in np.flatnonzero((used[_ESTIMATED] != 0) & (idle[_METERED] != 0)):
        drawn = used[:_HOST, at].tolist()
        idle[:_HOST, at] = apportion(int(idle[_METERED, at]), drawn)
    return idle


@lru_cache(maxsize=256)
def _declared_hosts(host_mw: int, cuts: Sequence[tuple[int, int]], slot_us: int) -> Columns:
    """Host energy in each cell; all of it, wherever work or prices cut the window."""
    marks: list[int] = _cells(cuts, slot_us).marks.tolist()
    whole_mj = host_energy_mj(host_mw, marks[-1] // SECOND_US)
    parts = cumulative_split(whole_mj, start=0, end=marks[-1], edges=marks)
    return _numbers(parts, whole_mj)


def _measured_hosts(site: Site, marks: Ints) -> Columns:
    """What is measured of hosts."""
    parts: Columns = np.zeros(marks.size - 1, np.int64 if not site.hosts else object)
    for host in site.hosts:
        measured = energy_columns(host.spans, marks.tolist())
        totals = map(sum, zip(measured.metered_mj, measured.estimated_mj, strict=True))
        # Of all up to an edge, so that GPUs cut by other slots add up to the same.
        shared = pairwise(host.part_of(mj) for mj in accumulate(totals, initial=0))
        parts = parts + np.array([later - earlier for earlier, later in shared], object)
    return parts
