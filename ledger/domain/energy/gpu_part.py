"""Which part of a GPU somebody has, and what that takes of all that the GPU does.

Invariant: the parts of a GPU, in their order, take all of it together, to the last millijoule, up
to every moment: whatever slots and prices each of them is cut by.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import overload

from ledger.domain.energy.meter import EnergyColumns, Span, energy_columns
from ledger.domain.money import EXACT

# Millionths of a GPU and sevenths of one, as MIG cuts it, are whole numbers of parts of it.
GPU_PARTS = 7_000_000


@dataclass(frozen=True, slots=True)
class GpuPart:
    """So many of GPU_PARTS of a GPU, behind others' in their order."""

    parts: int = GPU_PARTS
    before: tuple[int, ...] = ()

    def of(self, whole: int) -> int:
        """What it takes of a whole number of anything that the GPU takes: never less of more."""
        return nth_part(whole, [*self.before, self.parts], GPU_PARTS)


WHOLE_GPU = GpuPart()


def nth_part(whole: int, sizes: Sequence[int], of_all: int) -> int:
    """What the last of some sizes out of all takes of a whole: each takes its part of what those
    before it left, so that all take all of it, and nobody takes less of more."""
    taken, rest, left = 0, whole, of_all
    for size in sizes:
        taken = rest * size // left
        rest, left = rest - taken, left - size
    return taken


@dataclass(frozen=True, slots=True, eq=False)
class PartSpans(Sequence[Span]):
    """What a board counted, as far as it is a part's."""

    whole: Sequence[Span]
    part: GpuPart

    def __len__(self) -> int:
        return len(self.whole)

    @overload
    def __getitem__(self, index: int) -> Span: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Span]: ...
    def __getitem__(self, index: int | slice) -> Span | Sequence[Span]:
        return self.whole[index]


def drawn_columns(measured: Sequence[Span], marks: Sequence[int]) -> EnergyColumns:
    """Energy between neighbouring sorted microseconds of a board, or a part of one; of a part what
    it takes of all up to a mark, so that every cut adds up to the same."""
    if not isinstance(measured, PartSpans):
        return energy_columns(measured, marks)
    whole = energy_columns(measured.whole, marks)
    metered, estimated = (
        _growth(measured.part, energies) for energies in (whole.metered_mj, whole.estimated_mj)
    )
    return EnergyColumns(metered, estimated, whole.covered_us)


def _growth(part: GpuPart, energies: Iterable[int]) -> list[int]:
    upto = (part.of(energy) for energy in accumulate(energies, initial=0))
    return [later - earlier for earlier, later in pairwise(upto)]


def share_of_gpu(parts: int) -> Decimal:
    """So many parts of a GPU as a number of GPUs, to the millionth."""
    millionths = (parts * 10**6 + GPU_PARTS // 2) // GPU_PARTS
    return Decimal(millionths).scaleb(-6, EXACT).normalize(EXACT)


def parts_of_share(share: Decimal) -> int:
    """As many parts as a share of a GPU, of six decimals at most, is."""
    return int(EXACT.multiply(share, Decimal(GPU_PARTS)))
