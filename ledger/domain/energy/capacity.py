"""Whether deployments ever use more GPUs of an asset than it has.

Invariant: at every moment the deployed GPUs are at most the asset's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class GpuShare:
    """So many GPUs in [valid_from, valid_to); `valid_to` None has no end."""

    gpu_count: int
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class Shortage:
    """The first moment at which more GPUs are deployed than there are."""

    moment: datetime
    deployed: int
    available: int


def find_shortage(owned: Sequence[GpuShare], deployed: Sequence[GpuShare]) -> Shortage | None:
    """The first moment when `deployed` exceeds `owned`, or None."""
    # Use can rise above what there is only where a deployment starts or hardware ends.
    moments = {share.valid_from for share in deployed}
    moments |= {share.valid_to for share in owned if share.valid_to is not None}
    for moment in sorted(moments):
        used, there = _at(deployed, moment), _at(owned, moment)
        if used > there:
            return Shortage(moment, used, there)
    return None


def _at(shares: Sequence[GpuShare], moment: datetime) -> int:
    return sum(
        share.gpu_count
        for share in shares
        if share.valid_from <= moment and (share.valid_to is None or moment < share.valid_to)
    )
