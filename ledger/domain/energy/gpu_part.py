"""Which part of a GPU somebody has, and what that takes of a whole number.

Invariant: the parts of a GPU, in their order, take all of it together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

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


def share_of_gpu(parts: int) -> Decimal:
    """So many parts of a GPU as a number of GPUs, to the millionth."""
    millionths = (parts * 10**6 + GPU_PARTS // 2) // GPU_PARTS
    return Decimal(millionths).scaleb(-6, EXACT).normalize(EXACT)


def parts_of_share(share: Decimal) -> int:
    """As many parts as a share of a GPU, of six decimals at most, is."""
    return int(EXACT.multiply(share, Decimal(GPU_PARTS)))
