"""What a part of a GPU takes of the energy of all of it.

Invariant: the parts of a GPU, in their order, take all of it together, to the last millijoule, up
to every moment: whatever slots and prices each of them is cut by.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import overload

from ledger.domain.energy.gpu_part import GpuPart
from ledger.domain.energy.meter import EnergyColumns, energy_columns
from ledger.domain.energy.span import Span


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
