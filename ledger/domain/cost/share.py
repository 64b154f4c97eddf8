"""What is shared of a window: energy at three places and cost of three kinds, in whole numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.domain.apportion import apportion

# What a share of a window is made of: mJ, and 1e-12 of the currency.
ENERGIES = ("device_metered_mj", "device_estimated_mj", "host_mj", "overhead_mj")
COSTS = ("device_cost", "overhead_cost", "gpu_cost")
SHARES = (*ENERGIES, *COSTS)


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
